import inspect
import logging
import os
import subprocess
import sys
import textwrap
import warnings
from functools import partial
from types import SimpleNamespace

import lightning
import pytest
import torch
from omniformer_tokenizers import BPETokenizer, PatchTokenizer, WordTokenizer

from omniformer.data import Blocks, Digits, OmniDataModule, Stream
from omniformer.data.deal import Work
from omniformer.data.source import Raw, Source
from omniformer.parallel.readers import place
from omniformer.training.trainer import quiet

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*`isinstance.treespec, LeafSpec.` is deprecated"),
    pytest.mark.filterwarnings("ignore:The .* property is deprecated"),
]
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Model(lightning.LightningModule):
    """Learns anything, writes down which samples it saw, and stops where told."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.evaluated = []
        self.stop_after = stop_after

    def training_step(self, batch, index):
        if self.stop_after is not None and len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append({name: b.ids for name, b in batch.items()})
        return sum((self.weight - b.n_tokens) ** 2 for b in batch.values())

    def validation_step(self, batch, index):
        self.evaluated.append({name: b.ids for name, b in batch.items()})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class SaveAt(lightning.Callback):
    """Saves after the given number of training batches, or at the end of validation in an epoch."""

    def __init__(self, path, *, batches=None, validations=None):
        self.path, self.batches, self.validations = path, batches, validations

    def on_train_batch_end(self, trainer, model, *args):
        if len(model.seen) == self.batches:
            trainer.save_checkpoint(self.path)

    def on_validation_end(self, trainer, model):
        if not trainer.sanity_checking and trainer.current_epoch + 1 == self.validations:
            trainer.save_checkpoint(self.path)


def fit(module, model, folder, *, callbacks=(), ckpt_path=None, **options):
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **{"max_epochs": 3, "num_sanity_val_steps": 1} | options,
    )
    trainer.fit(model, datamodule=module, ckpt_path=ckpt_path, weights_only=True if ckpt_path else None)
    return model


@pytest.fixture
def module(lists, ints):
    def make(*, a=20, b=10, val=6, **options):
        streams = {
            "a": Stream(source=lists(a, val), batch_size=4, num_workers=options.pop("num_workers", 0)),
            "b": Stream(source=lists(b, val), batch_size=4, weight=0.5),
        }
        return OmniDataModule(streams=streams, tokenizers={"a": {"text": ints}, "b": {"text": ints}}, seed=0, **options)

    return make


@pytest.mark.quick(8)
@pytest.mark.parametrize("taken", [1, 3, 5, 6, 10])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 2},
        {"val_check_interval": 2},
        {"limit_train_batches": 4},
        {"limit_train_batches": 0.8},
    ],
    ids=str,
)
def test_training_resumed_after_any_batch_sees_the_samples_the_whole_run_saw(module, tmp_path, taken, options):
    path = tmp_path / "x.ckpt"
    whole = fit(module(), Model(), tmp_path, callbacks=[SaveAt(path, batches=taken)], **options)
    rest = fit(module(), Model(), tmp_path, ckpt_path=path, **options)
    assert rest.seen == whole.seen[taken:]


@pytest.mark.quick(2)
@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("options", [{}, {"limit_train_batches": 4}], ids=str)
def test_training_resumed_at_the_end_of_an_epoch_begins_the_next(module, tmp_path, epoch, options):
    path = tmp_path / "x.ckpt"
    whole = fit(module(), Model(), tmp_path, callbacks=[SaveAt(path, validations=epoch)], **options)
    rest = fit(module(), Model(), tmp_path, ckpt_path=path, **options)
    per_epoch = len(whole.seen) // 3
    assert rest.seen == whole.seen[epoch * per_epoch :]


def test_a_resumed_run_can_be_resumed_again_in_the_same_epoch(module, tmp_path):
    paths = [tmp_path / "1.ckpt", tmp_path / "2.ckpt"]
    whole = fit(module(), Model(), tmp_path, callbacks=[SaveAt(paths[0], batches=1)])
    fit(module(), Model(), tmp_path, ckpt_path=paths[0], callbacks=[SaveAt(paths[1], batches=2)])
    assert fit(module(), Model(), tmp_path, ckpt_path=paths[1]).seen == whole.seen[3:]


@pytest.mark.slow
def test_training_resumes_with_another_number_of_workers(module, tmp_path):
    path = tmp_path / "x.ckpt"
    whole = fit(module(num_workers=2), Model(), tmp_path, callbacks=[SaveAt(path, batches=3)])
    assert fit(module(), Model(), tmp_path, ckpt_path=path).seen == whole.seen[3:]


def test_validation_sees_every_sample_of_every_member_once_an_epoch(module, tmp_path):
    model = fit(module(), Model(), tmp_path, max_epochs=1, num_sanity_val_steps=0)
    expected = sorted(f"val-{i}" for i in range(6))
    assert all(len(step) == 1 for step in model.evaluated)
    for name in ("a", "b"):
        assert sorted(i for step in model.evaluated for i in step.get(name, ())) == expected


def test_overfitting_sees_the_same_batches_in_every_epoch(module, tmp_path):
    model = fit(module(), Model(), tmp_path, overfit_batches=2, limit_val_batches=0)
    assert model.seen == model.seen[:2] * 3


def test_no_validation_split_means_no_validation(module, tmp_path):
    with pytest.warns(UserWarning, match="Total length of `EvaluationLoader` across ranks is zero"):
        assert fit(module(val=0), Model(), tmp_path, max_epochs=1).evaluated == []
    with warnings.catch_warnings():  # as `train` begins: the run says so itself
        warnings.simplefilter("error")
        quiet()
        assert fit(module(val=0), Model(), tmp_path, max_epochs=1).evaluated == []


def test_steps_per_epoch_sets_the_length_of_an_epoch(module):
    assert len(module(steps_per_epoch=17).train_dataloader()) == 17
    with pytest.raises(ValueError, match="steps_per_epoch=0 must be at least 1"):
        module(steps_per_epoch=0)


def test_tokenizers_are_fitted_on_training_texts_only(lists):
    source = lists(["aaaa bbbb"] * 9, ["zqzqzqzq"] * 50, ["zqzqzqzq"] * 50)
    tokenizer = BPETokenizer(vocab_size=300)
    stream = Stream(source=source, arrange=Blocks(seq_len=4))
    OmniDataModule(streams={"x": stream}, tokenizers={"x": {"text": tokenizer}}, seed=0).setup()
    assert any(b"aa" in piece for piece in tokenizer.token_bytes)
    assert not any(b"zq" in piece for piece in tokenizer.token_bytes)


def test_a_fitted_tokenizer_is_left_alone(lists):
    tokenizer = BPETokenizer(vocab_size=300).fit(["cccc cccc"])
    stream = Stream(source=lists(["aaaa aaaa"] * 9), arrange=Blocks(seq_len=4))
    before = tokenizer.token_bytes
    OmniDataModule(streams={"x": stream}, tokenizers={"x": {"text": tokenizer}}, seed=0).setup()
    assert tokenizer.token_bytes == before


def test_facts_join_those_of_the_source_and_of_the_tokenizer():
    tokenizers = {"d": {"vision": PatchTokenizer(patch_size=2, channels=1)}}
    module = OmniDataModule(streams={"d": Stream(source=Digits())}, tokenizers=tokenizers, seed=0)
    sizes = {"features": 4, "channels": 1, "stride": 2, "axes": 2}
    assert module.facts("d") == module.facts("d", "vision") == {"n_classes": 10, **sizes}
    assert module.labels("d") == tuple("0123456789")


def test_streams_and_tokenizers_must_name_the_same_data_sets(lists):
    with pytest.raises(ValueError, match=r"streams are \['a'\] but tokenizers are for \['b'\]"):
        OmniDataModule(streams={"a": Stream(source=lists(1))}, tokenizers={"b": {}}, seed=0)


def test_rank_and_world_size_come_from_the_trainer_or_the_environment(module, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    by_environment = [step["a"].ids for step in module().train_dataloader()]
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    ours = module()
    ours.trainer = SimpleNamespace(
        global_rank=1, world_size=2, overfit_batches=0, accumulate_grad_batches=1, training=False
    )
    assert [step["a"].ids for step in ours.train_dataloader()] == by_environment
    whole = [step["a"].ids for step in module().train_dataloader()]
    assert by_environment == [batch[1::2] for batch in whole]


def test_before_there_is_a_trainer_ranks_that_compute_together_count_as_one(module, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    ours, strategy = module(), SimpleNamespace(together=2)
    ours.place = partial(place, SimpleNamespace(global_rank=1, world_size=2, strategy=strategy))
    read = [step["a"].ids for step in ours.train_dataloader()]
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("RANK", "0")
    assert read == [step["a"].ids for step in module().train_dataloader()]


def test_ranks_get_equal_work_by_what_the_model_computes_where_batches_count_tokens(lists, ints, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    stream = Stream(source=lists([[1] * n for n in (1, 2, 3, 4, 5, 6)]), batch_size=None, tokens_per_batch=21)
    whole = {}
    for pair in (0.0, 10.0):
        for rank in ("0", "1"):
            monkeypatch.setenv("RANK", rank)
            ours = OmniDataModule(
                streams={"a": stream},
                tokenizers={"a": {"text": ints}},
                seed=0,
                work=lambda name, pair=pair: Work(token=1.0, pair=pair),
            )
            (step,) = ours.train_dataloader()
            whole[pair, rank] = sorted(step["a"].lengths.tolist())
    assert {sum(whole[0.0, rank]) for rank in "01"} == {10, 11}
    squares = [sum(n * n for n in whole[10.0, rank]) for rank in "01"]
    assert sorted(squares) == [45, 46]


def test_skipped_samples_are_reported_at_the_end(lists, ints):
    stream = Stream(source=lists([[1]] * 9 + ["corrupt"]), batch_size=5, on_error="skip", max_bad_fraction=0.1)
    module = OmniDataModule(streams={"x": stream}, tokenizers={"x": {"text": ints}}, seed=0)
    list(module.train_dataloader())
    assert module.bad_samples == {"x/train": ["train-9"]}
    with pytest.warns(UserWarning, match="x/train: 1 samples could not be read and were skipped: train-9") as told:
        module.teardown("fit")
    assert [each.filename for each in told] == [inspect.getfile(OmniDataModule)]  # not Lightning, which calls it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.teardown("test")  # once is enough


DDP = """
    import json, sys
    import torch
    import lightning
    from omniformer.data import Digits, OmniDataModule, Stream
    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight, self.seen, self.evaluated = torch.nn.Parameter(torch.zeros(())), [], []
        def training_step(self, batch, index):
            self.seen.append(batch["d"].ids)
            return (self.weight - batch["d"].n_tokens) ** 2
        def validation_step(self, batch, index):
            self.evaluated.append(batch["d"].ids)
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    if __name__ == "__main__":
        tokenizers = {"d": {"vision": PatchTokenizer(patch_size=4, channels=1)}}
        data = OmniDataModule(streams={"d": Stream(source=Digits(), batch_size=64)}, tokenizers=tokenizers, seed=0)
        model = Model()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
        trainer = lightning.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, num_sanity_val_steps=0,
            use_distributed_sampler=False, **quiet)
        trainer.fit(model, datamodule=data)
        with open(f"{sys.argv[1]}/{trainer.global_rank}.json", "w") as file:
            json.dump([model.seen, model.evaluated], file)
"""


@pytest.mark.slow
def test_two_processes_train_on_the_steps_of_one_and_evaluate_each_sample_once(tmp_path):
    import json

    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(DDP))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, tmp_path], env=environment, check=True, timeout=110)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    tokenizers = {"d": {"vision": PatchTokenizer(patch_size=4, channels=1)}}
    module = OmniDataModule(streams={"d": Stream(source=Digits(), batch_size=64)}, tokenizers=tokenizers, seed=0)
    together = [sorted(a + b) for a, b in zip(ranks[0][0], ranks[1][0], strict=True)]
    assert together == [sorted(step["d"].ids) for step in module.train_dataloader()]
    evaluated = sorted(i for rank in ranks for step in rank[1] for i in step)
    assert evaluated == sorted(raw.id for raw in Digits().split("val"))


class Texts(Source):
    """The same few texts in every split."""

    def __init__(self, *texts):
        self.texts = texts

    def split(self, name):
        return [Raw(id=f"{name}/{i}", contents={"text": text}) for i, text in enumerate(self.texts)]


def test_sets_that_describe_one_tokenizer_share_its_vocabulary():
    def tokenizers(**second):
        return {"a": {"text": WordTokenizer()}, "b": {"text": WordTokenizer(**second)}}

    streams = {"a": Stream(source=Texts("one two", "two")), "b": Stream(source=Texts("three"))}
    shared = OmniDataModule(streams=streams, tokenizers=tokenizers(), seed=0)
    shared.setup()
    a, b = (shared.tokenizers[name]["text"] for name in "ab")
    assert a.decode(a("one three")) == b.decode(b("one three")) == "one three"
    assert a("three").values.tolist() == b("three").values.tolist()
    apart = OmniDataModule(streams=streams, tokenizers=tokenizers(vocab_size=10), seed=0)
    apart.setup()
    assert [apart.tokenizers[name]["text"].vocab_size for name in "ab"] == [4, 3]


def test_a_tokenizer_learns_from_the_share_that_is_trained_on():
    stream = Stream(source=Texts(*(f"word{i}" for i in range(40))), train_share=0.25)
    module = OmniDataModule(streams={"a": stream}, tokenizers={"a": {"text": WordTokenizer()}}, seed=0)
    module.setup()
    assert module.tokenizers["a"]["text"].vocab_size == 2 + 10  # end of text, unknown, and ten words


def test_data_that_no_tokenizer_reads_are_refused_before_they_are_read():
    class Sounds(Source):
        modalities = ("audio",)

        def split(self, name):
            raise AssertionError("the data were touched")

    streams, tokenizers = {"x": Stream(source=Sounds())}, {"x": {"vision": PatchTokenizer()}}
    module = OmniDataModule(streams=streams, tokenizers=tokenizers, seed=0)
    with pytest.raises(ValueError, match=r"x: data gives audio \(Sounds\), tokenizer reads vision \(PatchTokenizer\)"):
        module.setup()
