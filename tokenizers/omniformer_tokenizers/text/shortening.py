"""Texts that are too long for a model, cut."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from omniformer_tokenizers.tokens import Tokens


def shortened(tokens: Tokens, tokenizer: Any, most: int | None) -> Tokens:
    """A text of at most so many tokens, whose closing special tokens stay; anything but a text as it is.

    Args:
        tokens: what the tokenizer made.
        tokenizer: says which tokens are special.
        most: how many there may be; None for any number.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> text = ByteTokenizer()
        >>> text.decode(shortened(text("too long"), text, 3))
        'too'
    """
    if most is None or len(tokens) <= most or tokens.values.ndim != 1 or tokens.edges is not None or tokens.pairs:
        return tokens
    ids = tokens.values.tolist()
    if (pad := getattr(tokenizer, "pad", None)) is not None and len(kept := _unpadded(ids, pad, most)) < len(ids):
        rows = slice(len(kept))
        features = {name: feature[rows] for name, feature in tokens.features.items()}
        fewer = replace(tokens, values=tokens.values[rows], positions=tokens.positions[rows], features=features)
        return shortened(fewer, tokenizer, most)
    closing = min(closing_specials(ids, tokenizer), most - 1)
    kept = torch.cat([torch.arange(most - closing), torch.arange(len(ids) - closing, len(ids))])
    features = {name: feature[kept] for name, feature in tokens.features.items()}
    # Positions count on: what closes a cut text stands right behind what is left of it.
    return replace(tokens, values=tokens.values[kept], positions=tokens.positions[:most], features=features)


def _unpadded(ids: Sequence[int], pad: int, most: int) -> Sequence[int]:
    """Ids without the padding behind them that is too much, apart from one, which may be the end of the text."""
    n = len(ids)
    while n > max(most, 1) and ids[n - 1] == ids[n - 2] == pad:
        n -= 1
    return ids[:n]


def closing_specials(ids: Sequence[int], tokenizer: Any) -> int:
    """How many special tokens close a text, such as `[SEP]`."""
    names = getattr(tokenizer, "special_tokens", ())
    special = {tokenizer.special_id(name) for name in names} | set(tokenizer.stops)
    return next((n for n, i in enumerate(reversed(ids)) if i not in special), 0)
