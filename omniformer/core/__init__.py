"""The shared transformer core: packed tokens in, packed tokens out; knows no modality."""

from omniformer.core.attention.plan import Plan, lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Neighbours, Prefix, Rule, Self, Window
from omniformer.core.transformer import Transformer

__all__ = ["Causal", "Full", "Layout", "Neighbours", "Plan", "Prefix", "Rule", "Self", "Transformer", "Window", "lower"]
