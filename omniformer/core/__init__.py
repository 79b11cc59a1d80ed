"""The shared transformer core: packed tokens in, packed tokens out; knows no modality."""

from omniformer.core.attention.plan import Plan, lower
from omniformer.core.cache import KVCache, SlidingCache, StaticCache
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.layout import Layout, View
from omniformer.core.memory import Memory
from omniformer.core.registers import Registers
from omniformer.core.rules import Causal, Full, Neighbours, Prefix, Rule, Self, Sinks, Window
from omniformer.core.towers import Towers
from omniformer.core.transformer import Transformer

__all__ = [
    "Causal",
    "EncoderDecoder",
    "Full",
    "KVCache",
    "Layout",
    "Memory",
    "Neighbours",
    "Plan",
    "Prefix",
    "Registers",
    "Rule",
    "Self",
    "Sinks",
    "SlidingCache",
    "StaticCache",
    "Towers",
    "Transformer",
    "View",
    "Window",
    "lower",
]
