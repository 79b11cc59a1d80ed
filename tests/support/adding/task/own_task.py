"""Telling grades apart."""

from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MetricCollection

from omniformer.batch import Batch
from omniformer.model import OmniFormer
from omniformer.tasks.task import Step, Task, Watched, mean, target


class Grading(Task):
    """Counts the thresholds that a sample passes; reads the target `label`."""

    watched = Watched("grades_off", "min")

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        labels = target(batch, "label")
        outputs = model(batch, name, losses=losses)
        passed = (labels[:, None] > labels.new_tensor(range(outputs.shape[1]))).to(outputs.dtype)
        each = functional.binary_cross_entropy_with_logits(outputs, passed, reduction="none").sum(-1)
        return Step(loss=mean(each, outputs), count=len(labels), outputs=(outputs > 0).sum(-1), targets=labels)

    def metrics(self) -> MetricCollection:
        return MetricCollection({"grades_off": MeanAbsoluteError()})
