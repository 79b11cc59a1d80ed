"""Randomness that depends on what is drawn and for which sample, never on who draws it or when."""

import hashlib
import json

import torch
from torch import Tensor


def generator(seed: int, epoch: int, sample_id: str, purpose: str) -> torch.Generator:
    """A generator for one random choice about one sample in one epoch.

    The four parts are hashed (BLAKE2b), so that neighbouring seeds, epochs or ids share nothing. Workers, ranks and
    interruptions cannot change what it gives.

    Args:
        seed: the seed of the run.
        epoch: how often the data set has been passed before, from 0; 0 wherever a sample must not vary.
        sample_id: the sample's id, or the data set's name where the choice is about the set as a whole.
        purpose: what is being chosen, for example `"augment"`; two purposes never share numbers.

    Example:
        >>> a, b = generator(0, 1, "digits/7", "augment"), generator(0, 1, "digits/7", "augment")
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        True
    """
    # JSON of the four, put together by hand: a list is written much more slowly than texts.
    key = f"[{seed}, {epoch}, {json.dumps(sample_id)}, {json.dumps(purpose)}]".encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return torch.Generator().manual_seed(number >> 1)  # torch takes seeds below 2**63


def permutation(length: int, seed: int, epoch: int, name: str) -> Tensor:
    """The order in which epoch `epoch` visits the `length` samples of the data set `name`: int64 `[length]`.

    Example:
        >>> sorted(permutation(4, seed=0, epoch=3, name="digits").tolist())
        [0, 1, 2, 3]
    """
    return torch.randperm(length, generator=generator(seed, epoch, name, "shuffle"))


def windowed(length: int, window: int, seed: int, epoch: int, name: str, *, forward: bool = False) -> Tensor:
    """`permutation`, in which neighbours stay near each other, so that a file is read in long stretches.

    Stretches of a sixteenth of the window are put in a random order, and samples are shuffled within each window.

    Args:
        length: the number of samples.
        window: how many samples a window has.
        seed: the seed of the run.
        epoch: which epoch, from 0.
        name: the name of the data set.
        forward: leave stretches where they are, so that no window is looked into before the last one is through.

    Example:
        >>> order = windowed(1000, 32, seed=0, epoch=0, name="digits")
        >>> sorted(order.tolist()) == list(range(1000)), len({i // 2 for i in order[:32].tolist()})
        (True, 16)
    """
    chance = generator(seed, epoch, name, "windows")
    places, size = torch.arange(length), max(window // 16, 1)
    stretches = places if forward else torch.randperm(-(-length // size), generator=chance)[places // size]
    within = torch.rand(length, generator=chance, dtype=torch.float64) + places // window
    return stretches.argsort(stable=True)[within.argsort()]


def fraction(key: str, purpose: str) -> float:
    """A number in [0, 1) that is fixed by a name for ever: what splits a set the same way on every machine.

    Example:
        >>> 0 <= fraction("chapter-1", "split") < 1
        True
    """
    # By hand, as in `generator`.
    content = f"[{json.dumps(key)}, {json.dumps(purpose)}]".encode()
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
