"""Learned maps from one modality's tokens to vectors of the core's width."""

from omniformer.embedders.ids import IdEmbedder
from omniformer.embedders.maskable import Maskable
from omniformer.embedders.nodes import NodeEmbedder
from omniformer.embedders.vectors import VectorEmbedder

__all__ = ["IdEmbedder", "Maskable", "NodeEmbedder", "VectorEmbedder"]
