import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from omniformer.parallel.compiling import Trainer
from omniformer.parallel.matmul import MatmulPrecision


class Seen(Callback):
    """What was set while a run computed."""

    def __init__(self, fails=False):
        self.fails, self.found = fails, []

    def on_test_batch_start(self, *arguments):
        self.found.append(torch.get_float32_matmul_precision())
        if self.fails:
            raise RuntimeError("a test that fails")


def run(seen, **options):
    from lightning.pytorch.demos.boring_classes import BoringModel

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "limit_test_batches": 1}
    trainer = Trainer(accelerator="cpu", enable_model_summary=False, callbacks=[seen], **quiet, **options)
    trainer.test(BoringModel(), DataLoader(torch.randn(4, 32)), verbose=False)


@pytest.fixture(autouse=True)
def high():
    """A process that has set something by itself."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("asked", "found"), [("medium", "medium"), ("highest", "highest"), (None, "high")])
def test_products_are_as_precise_as_asked_while_a_run_computes_and_as_before_behind_it(asked, found):
    seen = Seen()
    run(seen, matmul_precision=asked)
    assert seen.found == [found]
    assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_fails_leaves_nothing():
    with pytest.raises(RuntimeError, match="a test that fails"):
        run(Seen(fails=True), matmul_precision="medium")
    assert torch.get_float32_matmul_precision() == "high"


def test_the_trainer_is_told_by_name():
    trainer = Trainer(matmul_precision="medium", accelerator="cpu", barebones=True)
    assert [each.precision for each in trainer.callbacks if isinstance(each, MatmulPrecision)] == ["medium"]
