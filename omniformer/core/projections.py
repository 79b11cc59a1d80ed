"""Which rows of a layer's linear maps are queries, keys, values, gates: maps of the same input are computed as one."""

from dataclasses import dataclass

from omniformer.core.ranges import Natural


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Rows of a linear map that mean one thing.

    Args:
        module: the map, as a name inside the layer.
        first: the first row.
        last: the row after the last.
    """

    module: str
    first: Natural
    last: int


def stack(module: str, **rows: int) -> dict[str, Projection]:
    """The projections that lie below each other in one map, from top to bottom.

    Args:
        module: the map, as a name inside the layer.
        **rows: how many rows each projection has.

    Example:
        >>> stack("kv", key=4, value=4)["value"]
        Projection(module='kv', first=4, last=8)
    """
    found: dict[str, Projection] = {}
    first = 0
    for name, n in rows.items():
        found[name] = Projection(module=module, first=first, last=first + n)
        first += n
    return found
