"""Which row is in which split: as the table says, or by the hashes of what rows hold."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from omniformer.data.random import fraction
from omniformer.data.source import SPLITS, Split
from omniformer.data.splitting import hashed_places, split_at

SYNONYMS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
}


def digest_of(cells: Mapping[str, Any]) -> str:
    """A name for what a row holds, the same wherever the row stands.

    Example:
        >>> digest_of({"a": 1, "b": None}) == digest_of({"b": None, "a": 1})
        True
    """
    content = ", ".join(f"{_ENCODE(name)}: {_written(cell)}" for name, cell in sorted(cells.items()))
    return hashlib.blake2b(f"{{{content}}}".encode(), digest_size=12).hexdigest()


def _written(cell: Any) -> str:
    """A cell as JSON; of a list each by itself, since texts alone are written much faster."""
    return f"[{', '.join(map(_ENCODE, cell))}]" if isinstance(cell, list) else _ENCODE(cell)


def _plain(value: Any) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest() if isinstance(value, bytes) else repr(value)


_ENCODE = json.JSONEncoder(sort_keys=True, default=_plain).encode


def named(cells: Sequence[Any], fold: int | None) -> list[Split | str | None]:
    """The split that each cell of a column names; what is not understood stays a text, for a message.

    Whole numbers are folds: fold number `fold` of them, in their order, tests, the next validates, the others train.

    Args:
        cells: of the column.
        fold: which fold tests, where there are folds.
    """
    words = [None if each is None else str(each).strip() for each in cells]
    known = sorted({word for word in words if word}, key=lambda word: (len(word), word))
    if fold is not None and known and all(word.isdecimal() for word in known):
        if not 0 <= fold < len(known) or len(known) < 3:
            raise ValueError(f"fold={fold} is not one of 0..{len(known) - 1}, of at least three; folds are {known}")
        parts: dict[str, Split] = {known[fold]: "test", known[(fold + 1) % len(known)]: "val"}
        return [parts.get(word, "train") if word else None for word in words]
    return [SYNONYMS.get(word.lower(), word) if word else None for word in words]


def bound(rows: Sequence[Sequence[str]]) -> list[int]:
    """Rows that must stay together, because they share a key: the number of the set that each is in.

    Args:
        rows: the keys of each row: its group, what it holds.

    Example:
        >>> bound([["a", "x"], ["b"], ["c", "x"]])
        [0, 1, 0]
    """
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[str, int] = {}
    for i, keys in enumerate(rows):
        for key in keys:
            a, b = root(first.setdefault(key, i)), root(i)
            parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(len(rows))]


def by_hash(
    names: Iterable[str],
    sets: Sequence[int] | np.ndarray,
    *,
    strata: Sequence[Hashable] | None,
    shares: Sequence[float],
    fold: tuple[int, int] | None = None,
) -> list[Split]:
    """The split of each row by the hashes of names; rows of one set are in one split.

    Without strata, a row's split depends on nothing but the names in its set. With strata, each of them is divided by
    its own counts: shares are even within one set, and rows of other strata change nothing.

    Args:
        names: of each row; the least one of a set names it.
        sets: as `bound` gives them.
        strata: what each row is, such as its class; the most frequent one of a set counts.
        shares: of train, val and test.
        fold: the fold that tests, and how many there are, in the place of shares; the next one validates.
    """
    _, firsts, sets, sizes = np.unique(sets, return_index=True, return_inverse=True, return_counts=True)
    keys: list[str | None] = [None] * len(sizes)
    for number, name in zip(sets.tolist(), names, strict=True):
        key = keys[number]
        keys[number] = name if key is None or name < key else key
    told = [str(key) for key in keys]
    if strata is None:
        places = [fraction(key, "split") for key in told]
    else:
        kinds = [strata[i] for i in firsts.tolist()]
        several: dict[int, Counter[Hashable]] = defaultdict(Counter)
        for i in np.flatnonzero(sizes[sets] > 1).tolist():
            several[int(sets[i])][strata[i]] += 1
        for number, counted in several.items():
            kinds[number] = counted.most_common(1)[0][0]
        places = hashed_places(told, weights=sizes.tolist(), strata=kinds)
    split: list[Split] = [_at(place, shares, fold) for place in places]
    return [split[number] for number in sets.tolist()]


def _at(place: float, shares: Sequence[float], fold: tuple[int, int] | None) -> Split:
    """The split of a place in 0..1, in shares or as a fold."""
    if fold is not None:
        number, n = fold
        parts: dict[int, Split] = {number: "test", (number + 1) % n: "val"}
        return parts.get(min(int(place * n), n - 1), "train")
    _, val, test = shares
    return split_at(place, val=val, test=test)


def check_shares(shares: Sequence[float], folds: int | None, fold: int) -> None:
    """Refuses shares and folds that mean nothing.

    Raises:
        ValueError: there are not three shares that add up to 1, the first above 0, or there is no such fold.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or shares[0] <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares={list(shares)} must be three numbers from 0 that add up to 1: train, val, test")
    if folds is not None and not (folds >= 3 and 0 <= fold < folds):
        raise ValueError(f"folds={folds}, fold={fold}: folds must be 3 or more, and fold one of 0 to folds - 1")
