"""Who may attend to whom, said once and lowered to whatever kernel is fastest.

A rule is a predicate over pairs of tokens of one sample. It never sees two samples at once: that samples do not attend
to each other is the layout's law. Rules combine with `&`, `|` and `~`:

    Causal() & Window(left=256)              sliding window (Mistral)
    Causal() & (Window(left=256) | Sinks(4)) the same with sink tokens (StreamingLLM)
    Causal() | Prefix()                      prefix language model
    Neighbours() | Self()                    graph attention with self loops
"""

from omniformer.core.rules.alike import Alike
from omniformer.core.rules.base import UNBOUNDED, KeyBlocks, Reach, Rule, all_of, any_of
from omniformer.core.rules.expander import Expander, exphormer
from omniformer.core.rules.graph import Neighbours
from omniformer.core.rules.modality import Modalities
from omniformer.core.rules.order import Causal, Full, Global, Prefix, Self, Sinks, Window
from omniformer.core.rules.sparse import (
    BlockWindow,
    RandomBlocks,
    Strided,
    bigbird,
    longformer,
    mistral,
    sparse_transformer,
)

__all__ = [
    "UNBOUNDED",
    "Alike",
    "BlockWindow",
    "Causal",
    "Expander",
    "Full",
    "Global",
    "KeyBlocks",
    "Modalities",
    "Neighbours",
    "Prefix",
    "RandomBlocks",
    "Reach",
    "Rule",
    "Self",
    "Sinks",
    "Strided",
    "Window",
    "all_of",
    "any_of",
    "bigbird",
    "exphormer",
    "longformer",
    "mistral",
    "sparse_transformer",
]
