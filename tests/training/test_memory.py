"""Who runs out of memory is told what to lower."""

import pytest
import torch

from omniformer.training.memory import LastBatch, NoMemoryError, advised


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_the_batch_was_and_what_to_lower(regressor, make_loader, make_trainer, error):
    def spoil(module, batch):
        if module.trainer.global_step == 2:
            raise error

    module = regressor()
    module.before_step = spoil
    trainer = make_trainer(LastBatch())
    with pytest.raises(NoMemoryError) as caught, advised(trainer):
        trainer.fit(module, make_loader(shuffle=False), make_loader())
    said = str(caught.value)
    assert said.startswith(
        "out of memory at step 2, training, batch: points has 4 samples of 9 tokens, the longest 3; "
    )
    assert "data.batch_size or data.tokens_per_batch" in said
    assert isinstance(caught.value, ValueError)  # a command ends with this sentence and not with a traceback


def test_other_errors_pass_as_they_are(make_trainer):
    with pytest.raises(RuntimeError, match="shapes"), advised(make_trainer()):
        raise RuntimeError("shapes do not fit")
