"""Steps drawn as wholes, so that each micro-batch knows what else belongs to its step."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from omniformer.batch import MicroBatch
from omniformer.data.mixture import MixtureLoader, RepeatedLoader


class StepLoader:
    """The steps of a loader, drawn as wholes and handed out micro-batch by micro-batch.

    The place that it keeps for a run that resumes is that of the micro-batches handed out, not of those drawn.

    Args:
        loader: gives the batches in order.
        accumulate: how many of them make the step that comes next.
        remaining: how many more the trainer will ask for in this epoch; its last step may be short.
    """

    def __init__(
        self,
        loader: MixtureLoader | RepeatedLoader,
        *,
        accumulate: Callable[[], int] = lambda: 1,
        remaining: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        self.loader = loader
        self.accumulate = accumulate
        self.remaining = remaining
        self._done = 0  # micro-batches handed out of the step at hand
        self._behind: dict[str, Any] | None = None  # the loader's place behind them, where it has gone further

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[MicroBatch]:
        batches = iter(self.loader)
        while True:
            # Behind a checkpoint in the middle of a step only the rest of it is left.
            done, whole = self._done, int(min(self.accumulate(), self._done + self.remaining()))
            step, places = [], []
            for each in islice(batches, max(whole - done, 1)):
                step.append(each)
                places.append(self.loader.state_dict() if whole - done > 1 else None)
            if not step:
                return
            for place, each in enumerate(step):
                last = place == len(step) - 1
                self._done = 0 if last else done + place + 1
                self._behind = None if last else places[place]
                yield MicroBatch(each, step=step, done=done, place=place)

    def state_dict(self) -> dict[str, Any]:
        """The place reached; plain numbers and strings, the same on every rank."""
        return {**(self.loader.state_dict() if self._behind is None else self._behind), "done": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the micro-batch after the last one handed out before `state` was taken.

        Raises:
            ValueError: as the loader says.
        """
        self.loader.load_state_dict(state)
        self._done, self._behind = int(state.get("done", 0)), None
