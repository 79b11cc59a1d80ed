"""What a compressor makes of a text: a yardstick for language models that needs no training."""

import bz2
from collections.abc import Iterable

from omniformer.data.source import Source


def conditional_bz2_bits_per_byte(train: str | bytes, test: str | bytes) -> float:
    """How many bits bz2 needs for each byte of `test` once it has seen `train`.

    With C the compressed size in bytes: `(C(train + test) - C(train)) * 8 / |test|`. bz2 looks back
    900 kB, so of a longer training text only the end counts.

    Raises:
        ValueError: `test` is empty.

    Example:
        >>> conditional_bz2_bits_per_byte("to be or not to be " * 99, "to be or not") < 8
        True
    """
    train, test = (text.encode() if isinstance(text, str) else text for text in (train, test))
    if not test:
        raise ValueError("the test text is empty; bits per byte of nothing are not defined")
    return (len(bz2.compress(train + test)) - len(bz2.compress(train))) * 8 / len(test)


def joined(texts: Iterable[str]) -> str:
    """Documents as one text, separated by blank lines, as input for the function above."""
    return "\n\n".join(texts)


def bz2_baseline(source: Source) -> dict[str, float]:
    """What bz2 makes of a text source's test split after its training split, as `Source.baselines` reports it."""
    train, test = (joined(raw.contents["text"] for raw in source.split(part)) for part in ("train", "test"))
    return {"bz2_bits_per_byte": conditional_bz2_bits_per_byte(train, test)}
