"""Graphs as tokens: one for each node, with what encodings tell of its place; molecules are graphs."""

from omniformer_tokenizers.graph.molecules import MoleculeTokenizer
from omniformer_tokenizers.graph.nodes import GraphTokenizer

__all__ = ["GraphTokenizer", "MoleculeTokenizer"]
