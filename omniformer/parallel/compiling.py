"""The house's trainer, and `trainer.compile`: blocks of a core as compiled programs, and how many there had to be."""

from contextlib import ExitStack
from types import MethodType
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.utilities import rank_zero_info
from torch._dynamo.utils import counters

from omniformer.parallel.matmul import MatmulPrecision, Precision

How = Literal["off", "blocks", "whole"]
# Programs of one function before torch gives up and runs it uncompiled: its 8 are fewer than the rules of a joint run
# times the numbers of buckets in which attention lays samples.
_MOST = 64


class Trainer(LightningTrainer):
    """Lightning's trainer, with the options of a run that Lightning does not know.

    Args:
        compile: what `torch.compile` makes programs of: nothing, each block of the core, or all of its blocks together.
        matmul_precision: how precise products of float32 numbers are (`torch.set_float32_matmul_precision`): "highest",
            "high" (TF32 on a GPU) or "medium" (bfloat16 where a CPU has instructions for it; elsewhere faster ones of
            float32); as the process has it by default, which is "highest".
        **options: of Lightning's trainer.
    """

    def __init__(self, *, compile: How = "off", matmul_precision: Precision | None = None, **options: Any) -> None:
        super().__init__(**options)
        callbacks: list[Callback] = self.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        if matmul_precision is not None:
            callbacks.append(MatmulPrecision(matmul_precision))
        if compile != "off":
            callbacks.append(Compiling(compile))


class Compiling(Callback):
    """Compiles a core for the time of a training, and says at its end how many programs were made.

    Lowering (the plan of a batch: which kernel, which buckets) stays outside. Sizes are symbols in a program, so other
    lengths need no other one; another rule, kernel or number of buckets does (`Dense` lays samples of different lengths
    in at most six, or outside of programs), and so do evaluation, and a size of 0 or 1.

    Args:
        how: "blocks": one program serves all blocks; "whole": a program of all blocks of a stack, which takes longer to
            compile and may join more.
        backend: of `torch.compile`.

    Raises:
        ValueError: when training begins: the core has no stack of blocks that are called one after the other.
    """

    def __init__(self, how: Literal["blocks", "whole"], backend: str = "inductor") -> None:
        self.how, self.backend = how, backend
        self._lasting = ExitStack()  # what is so until the end

    def setup(self, trainer: LightningTrainer, pl_module: LightningModule, stage: str) -> None:
        """Compiles, before the model is divided or wrapped."""
        if stage != "fit":
            return
        model: Any = pl_module.model
        core = model.core
        # One that names no units calls parts of its blocks: programs of the whole blocks would never run.
        stacks: list[Any] = [part for part in core.modules() if hasattr(part, "through") and part.units]
        if not stacks:
            raise ValueError(
                f"trainer.compile={self.how}: {type(core).__name__} is no stack of blocks that are called one after "
                "the other; accepted with this core: off"
            )
        limit = max(_MOST, torch._dynamo.config.recompile_limit)
        # Without guards on modules that FSDP2 holds, their plain numbers, such as heads, would be symbols.
        self._lasting.enter_context(torch._dynamo.config.patch(recompile_limit=limit, skip_fsdp_guards=False))
        self._before = counters["stats"]["unique_graphs"]
        self._compiled: list[tuple[Any, str]] = []
        for stack in stacks:
            self._compile(stack)

    def _compile(self, stack: Any) -> None:
        # The methods alone: what hangs on a block, such as FSDP2 gathering its weights, stays outside of its program.
        named = [(stack, "through")] if self.how == "whole" else [(block, "forward") for block in stack.units]
        for module, name in named:
            method = torch.compile(getattr(type(module), name), backend=self.backend, dynamic=True)
            setattr(module, name, MethodType(method, module))  # a copy of the module has one of its own
            self._compiled.append((module, name))

    def teardown(self, trainer: LightningTrainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves the model as it was, and tells what was compiled."""
        if stage != "fit":
            return
        for module, name in self._compiled:
            vars(module).pop(name, None)
        self._lasting.close()
        rank_zero_info(f"trainer.compile={self.how}: {self.made} programs compiled for {trainer.global_step} steps")

    @property
    def made(self) -> int:
        """Programs since the training began, those of its validations with them."""
        return counters["stats"]["unique_graphs"] - self._before
