"""Where a command runs its model: one answer for all of them."""

import sys

import torch

from omniformer.allocator import keep_memory

_NAMES = ("auto", "cpu", "cuda", "cuda:0", "mps")


def chosen(name: str = "auto") -> torch.device:
    """The device of a name; what is not the CPU is told on stderr. On a CPU, freed memory is kept from now on
    (`keep_memory`), as in training.

    Args:
        name: as torch spells it, or "auto": CUDA where there is one, else Apple's MPS, else the CPU.

    Raises:
        ValueError: torch knows no such name, or this machine has no such device.

    Example:
        >>> chosen("cpu")
        device(type='cpu')
    """
    device = _automatic() if name == "auto" else _named(name)
    if device.type == "cpu":
        keep_memory()
    else:
        print(f"device: {device}{' (--device cpu takes the CPU)' if name == 'auto' else ''}", file=sys.stderr)
    return device


def _automatic() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def _named(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name}: torch knows no such device; accepted: {', '.join(_NAMES)}") from None
    there = _count(device.type)
    if (device.index or 0) >= there:
        has = "none" if not there else f"{there}: {', '.join(f'{device.type}:{i}' for i in range(there))}"
        raise ValueError(f"--device {name}: this machine has {has}; give another, or auto, which takes what there is")
    return device


def _count(kind: str) -> int:
    """How many devices of a kind this machine has."""
    if kind == "cpu":
        return 1
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    found = getattr(torch, kind, None)  # torch.cuda, torch.xpu ...
    return found.device_count() if found is not None and found.is_available() else 0
