"""What a model is trained to do: loss and metrics, and the module that Lightning trains."""

from omniformer.tasks.causal_lm import CausalLM
from omniformer.tasks.classification import Classification, MultiLabelClassification, TokenClassification
from omniformer.tasks.conditional_generation import ConditionalGeneration
from omniformer.tasks.missing_modalities import MissingModalities
from omniformer.tasks.module import TrainingModule
from omniformer.tasks.regression import Regression
from omniformer.tasks.task import Step, Task

__all__ = [
    "CausalLM",
    "Classification",
    "ConditionalGeneration",
    "MissingModalities",
    "MultiLabelClassification",
    "Regression",
    "Step",
    "Task",
    "TokenClassification",
    "TrainingModule",
]
