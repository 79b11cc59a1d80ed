"""Which of many rows are looked at."""

from random import Random


def some(n: int, most: int) -> list[int]:
    """At most so many of n places, in order: the same each time, and at random, since tables have rhythms of their own.

    Example:
        >>> some(3, 4), len(some(10, 4)), some(10, 4) == some(10, 4)
        ([0, 1, 2], 4, True)
    """
    return list(range(n)) if n <= most else sorted(Random(0).sample(range(n), most))
