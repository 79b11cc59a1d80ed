"""Readers of the core's output: from token vectors to predictions."""

from omniformer.heads.classification import ClassificationHead, MultiLabelHead, TokenClassificationHead
from omniformer.heads.head import Head
from omniformer.heads.next_token import NextTokenHead
from omniformer.heads.pooling import AttentionPool, FirstToken, MeanPool
from omniformer.heads.regression import RegressionHead

__all__ = [
    "AttentionPool",
    "ClassificationHead",
    "FirstToken",
    "Head",
    "MeanPool",
    "MultiLabelHead",
    "NextTokenHead",
    "RegressionHead",
    "TokenClassificationHead",
]
