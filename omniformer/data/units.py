"""In which units numbers are learned: how large they are, and how far apart, among the samples that are trained on."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from omniformer.data.source import Raw


def units(raws: Iterable[Raw]) -> dict[str, Any]:
    """Mean and deviation of each number of the target `value`, by the names under which a head knows them.

    Numbers that are not known (NaN) are passed over. Numbers that are all equal have no spread, so that their
    unit is 1.

    Args:
        raws: of the training split; where the first has no target `value`, the others are not looked at.

    Returns:
        `target_mean` and `target_std`, one float for each number; empty where there is nothing to measure.

    Raises:
        ValueError: a number is infinite, or samples have different numbers of numbers; names the sample.

    Example:
        >>> units([Raw(id=str(n), contents={}, targets={"value": torch.tensor(n)}) for n in (9.0, 11.0)])
        {'target_mean': [10.0], 'target_std': [1.0]}
    """
    every = iter(raws)
    first = next(every, None)
    if first is None or "value" not in first.targets:
        return {}
    rows = torch.stack([_row(raw, first) for raw in chain([first], every)])
    means, deviations = zip(*(_unit(column[~column.isnan()]) for column in rows.T), strict=True)
    return {"target_mean": list(means), "target_std": list(deviations)}


def _row(raw: Raw, first: Raw) -> Tensor:
    if "value" not in raw.targets:
        raise ValueError(f"sample {raw.id!r} has no target 'value', unlike {first.id!r}; give NaN where it is unknown")
    row = raw.targets["value"].double().reshape(-1)
    if row.isinf().any():
        raise ValueError(f"sample {raw.id!r} has the value {row.tolist()}; give finite numbers, NaN where not known")
    if len(row) != first.targets["value"].numel():
        raise ValueError(
            f"sample {raw.id!r} has {len(row)} values and {first.id!r} {first.targets['value'].numel()}; "
            "all need the same number of them, NaN where one is not known"
        )
    return row


def _unit(known: Tensor) -> tuple[float, float]:
    if not len(known):
        return 0.0, 1.0
    mean, deviation = float(known.mean()), float(known.std(correction=0))
    # What rounding leaves of equal numbers is no spread.
    return mean, deviation if deviation > 1e-12 * max(abs(mean), 1e-300) else 1.0
