"""Where the time of a training step goes, room by room: data, embedders, core, head, backward pass and so on."""

import time
from collections.abc import Iterable
from typing import Any

from lightning.pytorch.profilers import SimpleProfiler
from torch import nn

# Which room an action of Lightning's belongs to, by a part of its name; the first that fits. What is not named belongs
# to the room of the action around it.
_ACTIONS = {
    "train_dataloader_next": "data",
    "batch_to_device": "data",
    "transfer_batch": "data",
    "training_step": "loss",
    ".backward": "backward",
    ".optimizer_": "optimizer",
    ".configure_gradient_clipping": "optimizer",
    ".lr_scheduler_step": "optimizer",
    "[Callback]": "callbacks",
    "run_training_batch": "Lightning",
}
# Actions of a step that are part of no other; what happens outside of them, such as a validation, is not counted.
_OUTERMOST = ("train_dataloader_next", "batch_to_device", "run_training_batch", ".on_train_batch_")
ROOMS = ("data", "embed", "lower", "core", "head", "loss", "backward", "optimizer", "callbacks", "Lightning")


class Rooms(SimpleProfiler):
    """Lightning's simple profiler, which also tells how long a training step spends in each room.

    `embed`, `core` and `head` are the parts of the model; `lower` is what a stack does outside its blocks, such as
    choosing kernels and preparing masks; `loss` is the rest of the task's step, the layout of the batch included;
    `Lightning` is what is left. No second counts twice. On a GPU these are seconds of the host, which does not wait.

    Args:
        dirpath: folder of the report.
        filename: of the report, to which Lightning adds the stage and `.txt`; printed by default.

    Example:
        >>> rooms = Rooms()
        >>> with rooms.profile("run_training_batch"), rooms.profile("[Strategy]Alone.training_step"):
        ...     pass
        >>> rooms.seconds.keys() == {"Lightning", "loss"}, rooms.steps
        (True, 1)
    """

    def __init__(self, dirpath: str | None = None, filename: str | None = None) -> None:
        super().__init__(dirpath=dirpath, filename=filename)
        self.seconds: dict[str, float] = {}
        self.steps = 0
        self._within: list[str | None] = []
        self._since = 0.0
        self._hooks: list[Any] = []

    def setup(self, stage: str, local_rank: int | None = None, log_dir: str | None = None) -> None:
        """Listens to the parts of the model that is about to be trained."""
        super().setup(stage, local_rank, log_dir)
        if stage != "fit":
            return
        model: Any = self._lightning_module.model  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        self._listen("embed", model.embedders.values())
        self._listen("head", (part for head in model.heads.values() for part in head.modules()))
        self._listen("core", [model.core])
        for stack in (part for part in model.core.modules() if hasattr(part, "through")):
            self._listen("lower", [stack])
            self._listen("core", _called(stack))

    def teardown(self, stage: str | None) -> None:
        """Listens no longer."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        super().teardown(stage)

    def start(self, action_name: str) -> None:
        """An action of Lightning's begins."""
        super().start(action_name)
        self.steps += action_name == "run_training_batch"
        outermost = self._training and any(each in action_name for each in _OUTERMOST)
        self._enter(next((room for part, room in _ACTIONS.items() if part in action_name), None), outermost)

    def stop(self, action_name: str) -> None:
        """It has ended."""
        self._leave()
        super().stop(action_name)

    def summary(self) -> str:
        """The rooms, and below them all actions."""
        return f"{self.table()}\n\n{super().summary()}" if self._stage == "fit" and self.steps else super().summary()

    def describe(self) -> None:
        """Writes the report; the rooms of a training are printed, too."""
        if self._stage == "fit" and self.steps and self.filename is not None:
            print(self.table())
        super().describe()

    def table(self) -> str:
        """Milliseconds of a step and the share of each room."""
        total = sum(self.seconds.values())
        lines = [f"{'a step of ' + format(1e3 * total / self.steps, ',.1f') + ' ms':24}{'ms':>10}{'share':>8}"]
        for room in (room for room in ROOMS if room in self.seconds):
            took = self.seconds[room]
            lines.append(f"{room:24}{1e3 * took / self.steps:10,.2f}{took / total:8.1%}")
        return "\n".join(lines)

    @property
    def _training(self) -> bool:
        """Whether a step learns, rather than a validation or a test."""
        module: Any = getattr(self, "_lightning_module", None)  # which Lightning sets before a training
        return module is None or module.trainer.training

    def _listen(self, room: str, parts: Iterable[nn.Module]) -> None:
        for part in parts:
            self._hooks.append(part.register_forward_pre_hook(lambda *_: self._enter(room)))
            self._hooks.append(part.register_forward_hook(lambda *_: self._leave(), always_call=True))

    def _enter(self, room: str | None, outermost: bool = False) -> None:
        """What follows belongs to this room, or to the one around it; to none outside of a step."""
        self._account()
        around = self._within[-1] if self._within else None
        self._within.append((room or around) if outermost or around is not None else None)

    def _leave(self) -> None:
        self._account()
        self._within.pop()

    def _account(self) -> None:
        """Gives the time since the last change to the room in which it was spent."""
        now = time.perf_counter()
        room = self._within[-1] if self._within else None
        if room is not None:
            self.seconds[room] = self.seconds.get(room, 0.0) + now - self._since
        self._since = now


def _called(stack: nn.Module) -> list[nn.Module]:
    """The parts that a stack calls itself."""
    found: list[nn.Module] = []
    for part in stack.children():
        found += [each for each in part if each is not None] if isinstance(part, nn.ModuleList) else [part]
    return found
