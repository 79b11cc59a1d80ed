"""How much each class, or each yes to a question, counts in training: as it is told, or as rare as it is."""

from collections.abc import Callable, Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_info

Weights = str | Sequence[float] | Mapping[str, float] | None
BALANCED = "balanced"
_SHOWN = 10


def class_weights(
    weights: Weights, *, labels: Sequence[str], n: int, key: str, balanced: Callable[[], Sequence[float]] | None
) -> tuple[float, ...] | None:
    """The weight of each class in order; None where all count alike.

    Args:
        weights: one number a class, or numbers by the names of classes, where those left out weigh 1; or `balanced`.
        labels: the names of the classes; empty where they have none.
        n: the number of classes.
        key: the name of the option, for messages.
        balanced: finds the weights that balance the training samples.

    Raises:
        ValueError: there are more or fewer numbers than classes, a name is no class, a number is below 0, or all are 0.

    Example:
        >>> class_weights({"b": 3}, labels=("a", "b"), n=2, key="class_weights", balanced=None)
        (1.0, 3.0)
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        if weights != BALANCED or balanced is None:
            why = "needs to know the training samples" if weights == BALANCED else "is not known; choose 'balanced'"
            raise ValueError(f"{key}={weights!r} {why}, or give one number a class, or numbers by the names of classes")
        found = [float(each) for each in balanced()]
    elif isinstance(weights, Mapping):
        if unknown := [name for name in weights if str(name) not in labels]:
            some = ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
            raise ValueError(f"{key}: {unknown[0]!r} is none of the {n} classes: {some or 'they have no names'}")
        named = {str(name): float(value) for name, value in weights.items()}
        found = [named.get(name, 1.0) for name in labels]
    else:
        found = [float(each) for each in weights]
    if len(found) != n or min(found) < 0 or not any(found):
        raise ValueError(f"{key}={found}: give {n} numbers from 0, one a class, of which some are above 0")
    if isinstance(weights, str):
        names = labels or [str(i) for i in range(n)]
        shown = ", ".join(f"{name} {value:.3g}" for name, value in list(zip(names, found, strict=True))[:_SHOWN])
        rank_zero_info(f"{key}=balanced: {shown}{', ...' if n > _SHOWN else ''}")
    return tuple(found)


def balancing(counts: Sequence[int]) -> list[float]:
    """Weights with which every class counts alike, and all samples together as much as without; 1 for a class that has
    no sample ([King and Zeng 2001](https://doi.org/10.1093/oxfordjournals.pan.a004868)).

    Example:
        >>> balancing([30, 10, 0])
        [0.6666666666666666, 2.0, 1.0]
    """
    there = sum(n > 0 for n in counts)
    return [sum(counts) / (there * n) if n else 1.0 for n in counts]


def positive(counts: Sequence[tuple[int, int]]) -> list[float]:
    """Weights of a yes to each question with which yes and no count alike; 1 where there is only one of them.

    Args:
        counts: of each question, how many answers are no and yes.

    Example:
        >>> positive([(30, 10), (5, 0)])
        [3.0, 1.0]
    """
    return [no / yes if yes and no else 1.0 for no, yes in counts]
