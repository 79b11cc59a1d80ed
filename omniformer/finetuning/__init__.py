"""Going on from trained weights: what a run takes over, and which of it learns."""

from omniformer.finetuning.begin import begin, measured
from omniformer.finetuning.beginning import Beginning
from omniformer.finetuning.finished import FinishedRun, MeasuredRun
from omniformer.finetuning.published import PublishedModel

__all__ = ["Beginning", "FinishedRun", "MeasuredRun", "PublishedModel", "begin", "measured"]
