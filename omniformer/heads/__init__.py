"""Readers of the core's output: from token vectors to predictions."""

from omniformer.heads.category import CategoryHead
from omniformer.heads.classification import ClassificationHead, MultiLabelHead, TokenClassificationHead
from omniformer.heads.contrastive import ContrastiveHead
from omniformer.heads.ctc import CTCHead
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.feature import FeatureHead
from omniformer.heads.head import Head
from omniformer.heads.link import LinkHead
from omniformer.heads.next_token import NextTokenHead
from omniformer.heads.noise import Cosine, Linear
from omniformer.heads.pooled import PooledHead
from omniformer.heads.pooling import AttentionPool, DenseFirstToken, FirstToken, LastToken, MeanPool, SumPool
from omniformer.heads.reconstruction import ReconstructionHead
from omniformer.heads.regression import RegressionHead
from omniformer.heads.span import SpanHead
from omniformer.heads.transform import Transform

__all__ = [
    "AttentionPool",
    "CTCHead",
    "CategoryHead",
    "ClassificationHead",
    "ContrastiveHead",
    "Cosine",
    "DenoisingHead",
    "DenseFirstToken",
    "FeatureHead",
    "FirstToken",
    "Head",
    "LastToken",
    "Linear",
    "LinkHead",
    "MeanPool",
    "MultiLabelHead",
    "NextTokenHead",
    "PooledHead",
    "ReconstructionHead",
    "RegressionHead",
    "SpanHead",
    "SumPool",
    "TokenClassificationHead",
    "Transform",
]
