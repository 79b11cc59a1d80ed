"""Several data sets in one training: which of them a step takes, and the loader that Lightning sees."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

from omniformer.batch import Batch
from omniformer.data.loader import Evaluation, Feed

Step = dict[str, Batch]


class MixtureLoader:
    """The training batches of a mixture: each step takes one batch from every data set that is due.

    A data set of weight w takes part in the share w of the steps, evenly spread: in step s when `floor((s + 1) w)` is
    above `floor(s w)`. Each set goes through its own epochs; an epoch of the mixture is only a number of steps. Every
    iteration runs `len(loader)` steps from where the last one stopped, so the samples of step s do not depend on how
    training is cut into epochs. A run that resumes goes on with the very next step.

    Args:
        feeds: by the name of the data set.
        weights: the share of steps of each, above 0 and at most 1; at least one of them must be 1.
        steps_per_epoch: None runs until every data set has been passed once.

    Raises:
        ValueError: there is no data set, or none takes part in every step.
    """

    def __init__(
        self, feeds: Mapping[str, Feed], weights: Mapping[str, float], *, steps_per_epoch: int | None = None
    ) -> None:
        if not feeds:
            raise ValueError("a mixture needs at least one data set")
        if max(weights.values()) < 1:
            raise ValueError(f"weights {dict(weights)}: some steps would have no data; give one data set weight 1")
        self.feeds = feeds
        self.weights = {name: Fraction(weights[name]).limit_denominator(10**6) for name in feeds}
        self.steps_per_epoch = steps_per_epoch
        self.step = 0

    def __len__(self) -> int:
        if self.steps_per_epoch is not None:
            return self.steps_per_epoch
        return max(-int(-feed.n_batches // self.weights[name]) for name, feed in self.feeds.items())

    def due(self, step: int) -> list[str]:
        """The data sets that take part in a step."""
        return [name for name, w in self.weights.items() if (step + 1) * w // 1 > step * w // 1]

    def __iter__(self) -> Iterator[Step]:
        for _ in range(len(self)):
            batches = {name: next(self.feeds[name]) for name in self.due(self.step)}
            self.step += 1
            yield batches

    @property
    def bad_samples(self) -> dict[str, list[str]]:
        """By data set, the ids of samples that could not be read so far."""
        return {name: sorted(feed.bad.ids) for name, feed in self.feeds.items() if feed.bad.ids}

    def state_dict(self) -> dict[str, Any]:
        """The place reached; plain numbers and strings, the same on every rank."""
        return {"step": self.step, "members": {name: feed.state_dict() for name, feed in self.feeds.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the step after the last one handed out before `state` was taken.

        Raises:
            ValueError: the mixture has other data sets than the state, or one of them has changed.
        """
        if state["members"].keys() != self.feeds.keys():
            raise ValueError(
                f"the checkpoint was written with the data sets {sorted(state['members'])}; this run has "
                f"{sorted(self.feeds)}. Resume with the same, or begin a new run from the weights"
            )
        for name, feed in self.feeds.items():
            feed.load_state_dict(state["members"][name])
        self.step = int(state["step"])


def shares(
    sizes: Mapping[str, int], weights: Mapping[str, float], temperature: float | None = None
) -> dict[str, float]:
    """The share of steps in which each data set of a mixture takes part; the largest is 1.

    Args:
        sizes: batches in an epoch of each.
        weights: what each data set's stream asks for.
        temperature: None takes the weights as they are; else each is multiplied by `size ** (1 / temperature)`: 1 mixes
            in proportion to size, so that all sets end their epochs together, more lets small sets be seen more often
            ([Arivazhagan et al. 2019](https://arxiv.org/abs/1907.05019), 3.2, who use 5).

    Raises:
        ValueError: the temperature is not above 0.

    Example:
        >>> shares({"large": 400, "small": 100}, {"large": 1.0, "small": 1.0}, temperature=2)
        {'large': 1.0, 'small': 0.5}
    """
    if temperature is None:
        return dict(weights)
    if temperature <= 0:
        raise ValueError(f"mixture_temperature={temperature} must be above 0: 1 mixes by size, more evens out")
    scaled = {name: weights[name] * size ** (1 / temperature) for name, size in sizes.items()}
    return {name: value / max(scaled.values()) for name, value in scaled.items()}


class RepeatedLoader:
    """The first steps of a mixture again and again: for checking that a model can learn a few batches by heart."""

    def __init__(self, loader: MixtureLoader, steps: int) -> None:
        self.kept: Sequence[Step] = list(islice(loader, steps))

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.kept)

    def state_dict(self) -> dict[str, Any]:
        """No place: every pass begins with the first step."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begins with the first step."""


class EvaluationLoader:
    """The validation or test batches of a mixture: one data set in each step, in turn until all are through.

    In turn, so that a run cut short by `limit_val_batches` has seen every data set.
    """

    def __init__(self, evaluations: Mapping[str, Evaluation]) -> None:
        self.evaluations = evaluations

    def __len__(self) -> int:
        return sum(len(evaluation) for evaluation in self.evaluations.values())

    def __iter__(self) -> Iterator[Step]:
        running = {name: iter(evaluation) for name, evaluation in self.evaluations.items()}
        while running:
            for name in list(running):
                batch = next(running[name], None)
                if batch is None:
                    del running[name]
                else:
                    yield {name: batch}

    @property
    def bad_samples(self) -> dict[str, list[str]]:
        """By data set, the ids of samples that could not be read."""
        return {name: sorted(e.bad.ids) for name, e in self.evaluations.items() if e.bad.ids}
