"""Learned maps from one modality's tokens to vectors of the core's width."""

from omniformer.embedders.class_tokens import ClassTokenEmbedder
from omniformer.embedders.conv_positions import ConvPositions
from omniformer.embedders.grid_stem import GridStem
from omniformer.embedders.ids import IdEmbedder
from omniformer.embedders.mask_token import MaskToken
from omniformer.embedders.maskable import Maskable
from omniformer.embedders.merging_tower import MergingTowerEmbedder
from omniformer.embedders.narrow import NarrowIdEmbedder
from omniformer.embedders.native_size import NativeSizeEmbedder
from omniformer.embedders.ngrams import NGramEmbedder
from omniformer.embedders.nodes import NodeEmbedder
from omniformer.embedders.read_twice import ReadTwice
from omniformer.embedders.stem import ConvStem
from omniformer.embedders.tower import TowerEmbedder
from omniformer.embedders.vectors import VectorEmbedder
from omniformer.embedders.waves import WaveStem

__all__ = [
    "ClassTokenEmbedder",
    "ConvPositions",
    "ConvStem",
    "GridStem",
    "IdEmbedder",
    "MaskToken",
    "Maskable",
    "MergingTowerEmbedder",
    "NGramEmbedder",
    "NarrowIdEmbedder",
    "NativeSizeEmbedder",
    "NodeEmbedder",
    "ReadTwice",
    "TowerEmbedder",
    "VectorEmbedder",
    "WaveStem",
]
