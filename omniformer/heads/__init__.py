"""Readers of the core's output: from token vectors to predictions."""

from omniformer.heads.attention_pooling import MultiheadAttentionPool
from omniformer.heads.category import CategoryHead
from omniformer.heads.classification import ClassificationHead, MultiLabelHead, TokenClassificationHead
from omniformer.heads.contrastive import ContrastiveHead
from omniformer.heads.ctc import CTCHead
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.distilled import DistilledHead
from omniformer.heads.feature import FeatureHead
from omniformer.heads.flat_pooling import FlatPool
from omniformer.heads.head import Head
from omniformer.heads.link import LinkHead
from omniformer.heads.multi_token import MultiTokenHead
from omniformer.heads.next_token import NextTokenHead
from omniformer.heads.noise import Cosine, Linear
from omniformer.heads.patch_pooling import PatchMean
from omniformer.heads.pooling import (
    AttentionPool,
    DenseFirstToken,
    DenseLastToken,
    DenseMeanPool,
    FirstAndMean,
    FirstToken,
    FirstTokens,
    LastToken,
    MaxPool,
    MeanPool,
    RampPool,
    RootPool,
    SumPool,
)
from omniformer.heads.reconstruction import ReconstructionHead
from omniformer.heads.regression import RegressionHead
from omniformer.heads.replaced import ReplacedHead
from omniformer.heads.sentence import SentenceHead
from omniformer.heads.span import SpanHead
from omniformer.heads.statistics_pooling import StatisticsPool
from omniformer.heads.sum_pooling import DenseSumPool
from omniformer.heads.transform import Transform
from omniformer.heads.vector import VectorHead

__all__ = [
    "AttentionPool",
    "CTCHead",
    "CategoryHead",
    "ClassificationHead",
    "ContrastiveHead",
    "Cosine",
    "DenoisingHead",
    "DenseFirstToken",
    "DenseLastToken",
    "DenseMeanPool",
    "DenseSumPool",
    "DistilledHead",
    "FeatureHead",
    "FirstAndMean",
    "FirstToken",
    "FirstTokens",
    "FlatPool",
    "Head",
    "LastToken",
    "Linear",
    "LinkHead",
    "MaxPool",
    "MeanPool",
    "MultiLabelHead",
    "MultiTokenHead",
    "MultiheadAttentionPool",
    "NextTokenHead",
    "PatchMean",
    "RampPool",
    "ReconstructionHead",
    "RegressionHead",
    "ReplacedHead",
    "RootPool",
    "SentenceHead",
    "SpanHead",
    "StatisticsPool",
    "SumPool",
    "TokenClassificationHead",
    "Transform",
    "VectorHead",
]
