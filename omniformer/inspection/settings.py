"""The keys of `conf/inspect.yaml`, written as a class: their annotations are checked like any constructor's."""

from dataclasses import dataclass, field
from typing import Literal

from omniformer.config.root import Node
from omniformer.core.ranges import Count


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `python -m omniformer.inspect` looks at.

    Args:
        core: the transformer.
        parts: what else belongs to the whole model, by name; a family of `conf/family` fills it.
        ties: weights that two parts share: the path of one, and that of the other whose place it takes.
        rule: who may attend to whom.
        seq_len: tokens of a sample.
        target_len: tokens that an encoder-decoder writes for a sample, or that all towers but the first read; as many
            as `seq_len` by default.
        batch_size: samples of a batch; on several devices, of each one's.
        dtype: of weights and activations. A model that is trained on several devices keeps its weights in float32, and
            `fsdp` gathers them in this type.
        devices: that train the model together; with more than one, what each of them holds and sends is shown.
        strategy: `ddp`, each device holds everything, or `fsdp`, each its pieces; `tensor` and `context`: groups that
            compute each layer or each sample together, all as `trainer=` of the same names.
        group_size: devices of such a group; they read the same batch.
        published: the number of weights that the family's own publication or weights have.
        allow_targets: packages of the user's own whose classes `_target_` may name; counts on the command line alone.
    """

    core: Node
    parts: dict[str, Node] = field(default_factory=dict)
    ties: dict[str, str] = field(default_factory=dict)
    rule: Node
    seq_len: Count
    target_len: Count | None = None
    batch_size: Count
    dtype: Literal["float32", "bfloat16", "float16"]
    devices: Count = 1
    strategy: Literal["ddp", "fsdp", "tensor", "context"] = "ddp"
    group_size: Count = 2
    published: Count | None = None
    allow_targets: list[str] = field(default_factory=list)
