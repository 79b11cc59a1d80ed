"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

from omniformer import allocator

COUNT_FAULTS = """
import resource, torch
from omniformer.allocator import keep_memory

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
    assert allocator.keep_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert allocator.keep_memory() is False
