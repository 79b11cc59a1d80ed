"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

from omniformer.training import memory

COUNT_FAULTS = """
import resource, torch
from omniformer.training.memory import keep_memory

def faults():
    for _ in range(30):  # the heap's reserve is walked through once
        torch.ones(16_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_memory(), faults())
"""


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
