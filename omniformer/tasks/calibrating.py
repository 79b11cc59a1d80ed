"""What tasks set on validation once the weights that will be tested are known."""

import logging
from collections import defaultdict
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from omniformer.parallel.tensors import mesh_of
from omniformer.tasks.gathering import gather
from omniformer.tasks.module import TrainingModule

log = logging.getLogger(__name__)


def calibrate(trainer: Trainer, module: TrainingModule, batches: Any, path: str | None) -> bool:
    """Has the tasks that ask for it calibrated on the whole validation split, by the weights that will be tested.

    Args:
        trainer: that has trained.
        module: its module; holds the changed weights afterwards.
        batches: the loader of validation.
        path: the checkpoint of those weights; None for those that the module holds.

    Returns:
        Whether there was such a task; only then does the module hold the weights of `path`.
    """
    asking = {name: task.calibrate for name, task in module.tasks.items() if task.calibrate is not None}
    if not asking or not batches:
        return False
    if any(mesh_of(weight) is not None for weight in module.parameters()):
        log.warning("%s: not calibrated on validation, as the model lies in pieces", ", ".join(asking))
        return False
    trainer.limit_predict_batches = trainer.limit_val_batches
    kept = _Kept()
    trainer.callbacks.append(kept)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        trainer.predict(module, batches, return_predictions=False, ckpt_path=path, weights_only=True)
    finally:
        trainer.callbacks.remove(kept)  # pyright: ignore[reportAttributeAccessIssue]
    for name, set_by in asking.items():
        if trainer.strategy.reduce_boolean_decision(not kept.found[name], all=False):
            log.warning("%s: not calibrated, as some process read no sample of validation", name)
            continue
        outputs, targets = (torch.cat(each) for each in zip(*kept.found[name], strict=True))
        said = set_by(gather(outputs).cpu(), gather(targets).cpu())
        rank_zero_info(f"{name}: {said}")
    return True


class _Kept(Callback):
    """Keeps outputs and targets of every member: Lightning would not move a `Step` to the host."""

    def __init__(self) -> None:
        self.found: defaultdict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        for name, step in outputs.items():
            self.found[name].append((step.outputs.detach().clone(), step.targets.clone()))
