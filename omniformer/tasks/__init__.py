"""What a model is trained to do: loss and metrics, and the module that Lightning trains."""

from omniformer.tasks.autoregression import Autoregression
from omniformer.tasks.causal_lm import CausalLM
from omniformer.tasks.classification import Classification, MultiLabelClassification, TokenClassification
from omniformer.tasks.conditional_generation import ConditionalGeneration
from omniformer.tasks.consistency import ConsistentTokenClassification
from omniformer.tasks.contrastive import Contrastive
from omniformer.tasks.ctc import CTC
from omniformer.tasks.diffusion import Diffusion
from omniformer.tasks.link_prediction import LinkPrediction
from omniformer.tasks.masked import MaskedIds, MaskedVectors
from omniformer.tasks.missing_modalities import MissingModalities
from omniformer.tasks.module import TrainingModule
from omniformer.tasks.multi_token import MultiTokenPrediction
from omniformer.tasks.open_set import OpenSetClassification
from omniformer.tasks.regression import Regression
from omniformer.tasks.span_prediction import SpanPrediction
from omniformer.tasks.task import Step, Task, Watched

__all__ = [
    "CTC",
    "Autoregression",
    "CausalLM",
    "Classification",
    "ConditionalGeneration",
    "ConsistentTokenClassification",
    "Contrastive",
    "Diffusion",
    "LinkPrediction",
    "MaskedIds",
    "MaskedVectors",
    "MissingModalities",
    "MultiLabelClassification",
    "MultiTokenPrediction",
    "OpenSetClassification",
    "Regression",
    "SpanPrediction",
    "Step",
    "Task",
    "TokenClassification",
    "TrainingModule",
    "Watched",
]
