"""A checked configuration, put together, trained and measured."""

from omniformer.experiment.evaluation import evaluate
from omniformer.experiment.experiment import Experiment, assemble
from omniformer.experiment.simple_methods import baselines
from omniformer.experiment.training import train

__all__ = ["Experiment", "assemble", "baselines", "evaluate", "train"]
