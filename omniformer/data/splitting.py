"""Splits that are the same on every machine and for ever: decided by names, not by a random state."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

from omniformer.data.random import fraction
from omniformer.data.source import Split


def hashed_split(
    keys: Sequence[str],
    *,
    val: float = 0.1,
    test: float = 0.1,
    weights: Sequence[float] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> dict[Split, list[int]]:
    """Sorts items into train, val and test by the hashes of their keys.

    Args:
        keys: one name an item; the same names give the same split.
        val: the share of validation.
        test: the share of test.
        weights: the size of each item, for example in bytes; the shares then count sizes. None counts items.
        strata: what each item is, for example its class; each kind is split by itself. None treats all as one kind.

    Returns:
        The indices of each split, ascending.

    Raises:
        ValueError: two keys are equal, or the shares leave nothing for training.

    Example:
        >>> {name: len(items) for name, items in hashed_split([str(i) for i in range(20)]).items()}
        {'train': 16, 'val': 2, 'test': 2}
    """
    if val < 0 or test < 0 or val + test >= 1:
        raise ValueError(f"shares val={val} and test={test} must be 0 or more and leave something for training")
    if len(set(keys)) < len(keys):
        double = min(key for key, n in Counter(keys).items() if n > 1)
        raise ValueError(f"two items are called {double!r}; names must differ for a stable split")
    split: dict[Split, list[int]] = {"train": [], "val": [], "test": []}
    for i, place in enumerate(hashed_places(keys, weights=weights, strata=strata)):
        split[split_at(place, val=val, test=test)].append(i)
    return split


def split_at(place: float, *, val: float, test: float) -> Split:
    """The split of a place in 0..1: first test, then validation, then training.

    Args:
        place: where it is.
        val: the share of validation.
        test: the share of test.

    Example:
        >>> [split_at(place, val=0.1, test=0.1) for place in (0.05, 0.15, 0.95)]
        ['test', 'val', 'train']
    """
    return "test" if place < test else "val" if place < test + val else "train"


def hashed_places(
    keys: Sequence[str], *, weights: Sequence[float] | None = None, strata: Sequence[Hashable] | None = None
) -> list[float]:
    """A place in 0..1 for each item, in the order of the hashes of their keys: the middle of its share of its kind.

    Args:
        keys: one name an item; no two the same.
        weights: the size of each item; None counts items.
        strata: what each item is; each kind fills 0..1 by itself. None treats all as one kind.

    Example:
        >>> sorted(hashed_places(["a", "b"]))
        [0.25, 0.75]
    """
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for i in range(len(keys)):
        kinds[strata[i] if strata is not None else None].append(i)
    places = [0.0] * len(keys)
    for members in kinds.values():
        order = sorted(members, key=lambda i: (fraction(keys[i], "split"), keys[i]))
        total = sum(weights[i] if weights is not None else 1 for i in order)
        seen = 0.0
        for i in order:
            weight = weights[i] if weights is not None else 1
            places[i] = (seen + weight / 2) / total if total else 1.0
            seen += weight
    return places


def share_of(keys: Sequence[str], share: float, *, strata: Sequence[Hashable] | None = None) -> list[int]:
    """A share of some items, chosen by the hashes of their keys: the same on every machine, and a smaller share is part
    of every larger one.

    Args:
        keys: one name an item.
        share: how many of them, above 0 and at most 1.
        strata: what each item is, for example its class; of each kind the share is taken, and at least one item. None
            treats all as one kind.

    Returns:
        The indices of the chosen ones, ascending.

    Raises:
        ValueError: the share is out of its range.

    Example:
        >>> len(share_of([str(i) for i in range(20)], 0.25))
        5
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share} must be above 0 and at most 1")
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for i in range(len(keys)):
        kinds[strata[i] if strata is not None else None].append(i)
    chosen: list[int] = []
    for members in kinds.values():
        order = sorted(members, key=lambda i: (fraction(keys[i], "share"), keys[i]))
        chosen += order[: max(1, round(share * len(order)))]
    return sorted(chosen)


def names_apart(paths: Sequence[Path]) -> list[str]:
    """Names for files that are the same wherever the data lie: of each its name, with as many of the folders that it
    lies in as tell it from the others.

    Args:
        paths: the files; one that occurs twice has the same name twice.

    Example:
        >>> names_apart([Path("/data/a/1.txt"), Path("/data/b/1.txt"), Path("/data/b/2.txt")])
        ['a/1.txt', 'b/1.txt', '2.txt']
    """
    longest = max((len(path.parts) for path in paths), default=0)
    names = {path: path.name for path in paths}
    for n in range(2, longest + 1):
        often = Counter(names.values())
        if max(often.values()) == 1:
            break
        names = {path: "/".join(path.parts[-n:]) if often[name] > 1 else name for path, name in names.items()}
    return [names[path] for path in paths]
