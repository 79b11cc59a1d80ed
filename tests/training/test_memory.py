"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest
import torch

from omniformer.training import memory
from omniformer.training.memory import LastBatch, NoMemoryError, advised

COUNT_FAULTS = """
import resource, torch
from omniformer.training.memory import keep_memory

def faults():
    for _ in range(12):  # the heap's reserve is walked through once
        torch.ones(9_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(9_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_memory(), faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    fresh, was_done, kept = done.stdout.split()
    assert was_done == "True"
    assert int(kept) < int(fresh) / 50


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert memory.keep_memory() is False


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
