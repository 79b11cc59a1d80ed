"""What a model reads while it writes: the weights from each token of an answer to each token that it is given."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from omniformer.batch import Batch
from omniformer.inspection.maps import Maps, attending, exchanged, recorded
from omniformer.model import OmniFormer


def alignment(
    model: OmniFormer, head: str, batch: Batch, *, layer: int | None = None, attention_head: int | None = None
) -> list[Tensor]:
    """Which given tokens each answer token reads, one matrix a sample
    ([Bahdanau et al. 2015](https://arxiv.org/abs/1409.0473), figure 3).

    The row of an answer token is what was read in order to predict the one after it: the first row, of the id from
    which the answer starts, belongs to the first word.

    Args:
        model: in evaluation mode.
        head: the name of a head that makes ids, such as `NextTokenHead`.
        batch: samples with answers: the expected ones, or what the model wrote.
        layer: the number of one layer, among those that read what is given; the mean of all by default.
        attention_head: the number of one head; the mean of all by default.

    Shapes:
        for each sample float32 `[answer tokens, given tokens]`. Rows add up to one where the given tokens are a memory,
        and to the share of attention that they get where they are a prefix.

    Raises:
        ValueError: as for `alignment_maps`; or there is no such layer or head.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer, framed
        >>> from omniformer.batch import Sample, collate
        >>> from omniformer.core.block import CrossBlock
        >>> from omniformer.core.encoder_decoder import EncoderDecoder
        >>> from omniformer.core.transformer import Transformer
        >>> from omniformer.embedders import IdEmbedder
        >>> from omniformer.heads import NextTokenHead
        >>> decoder = Transformer(d_model=16, n_layers=2, n_heads=2, block=CrossBlock)
        >>> core = EncoderDecoder(encoder=Transformer(d_model=16, n_layers=1, n_heads=2), decoder=decoder)
        >>> model = OmniFormer(
        ...     core=core,
        ...     embedders={"text": IdEmbedder(d_model=16, vocab_size=257)},
        ...     heads={"translation": NextTokenHead(d_model=16, vocab_size=257)},
        ... )
        >>> text = ByteTokenizer()
        >>> sample = Sample(id="dog", pieces=[text("ein Hund")], answer=[framed(text("a dog"), start=256, stop=256)])
        >>> alignment(model.eval(), "translation", collate([sample]))[0].shape
        torch.Size([7, 8])
    """
    maps = alignment_maps(model, head, batch)
    chosen = maps if layer is None else [_item(maps, layer, "layer", "layers that read what is given")]
    found = []
    for samples in zip(*chosen, strict=True):
        # Layers may differ in their number of heads, so each is averaged by itself.
        rows = [
            weights.float().mean(0)
            if attention_head is None
            else _item(weights, attention_head, "attention_head", "heads").float()
            for weights in samples
        ]
        found.append(torch.stack(rows).mean(0))
    return found


@torch.no_grad()
def alignment_maps(model: OmniFormer, head: str, batch: Batch) -> Maps:
    """The same by layer and head, recomputed in plain maths while the model runs on its fast kernels.

    A core with cross-attention gives the weights of its cross-attention, layer by layer; a `RecurrentDecoder` the
    weights of its reader, as one layer with one head; a core that reads what is given as a prefix that part of its
    self-attention which goes from answer tokens to given ones.

    Args:
        model: in evaluation mode.
        head: the name of a head that makes ids, such as `NextTokenHead`.
        batch: samples with answers.

    Shapes:
        for each layer and sample `[heads, answer tokens, given tokens]`.

    Raises:
        ValueError: the head writes nothing, the samples have no answer, or the core computes no attention weights.
    """
    able = [name for name in model.heads if model.head(name).makes == "ids"]
    if head not in able:
        raise ValueError(f"{head!r} writes no answers; heads of this model that do: {', '.join(able) or 'none'}")
    if batch.answer is None:
        raise ValueError(
            f"samples {', '.join(map(repr, batch.ids[:3]))} have no answer whose tokens could read anything"
        )
    crosses = model.writer.reads_memory
    maps: Maps = []
    stages: dict[str, Tensor] = {}
    layers, field = read_by(model)
    with exchanged(layers, lambda plan: recorded(plan, maps), field=field):
        model.decode(batch, head, stages=stages)
    given = batch.lengths.tolist()
    if "alignment" in stages:
        rows = stages["alignment"].split(batch.answer.lengths.tolist())
        return [[weights[None, :, :n] for weights, n in zip(rows, given, strict=True)]]
    if not maps:
        raise ValueError(f"{type(model.writer).__name__} computes no attention weights from answers to what is given")
    if crosses:
        return maps
    return [[weights[:, n:, :n] for weights, n in zip(samples, given, strict=True)] for samples in maps]


def read_by(model: OmniFormer) -> tuple[list[nn.Module], Literal["plan", "memory_plan"]]:
    """The layers in which answers read what is given, and which of their plans that goes by."""
    if model.writer.reads_memory:
        return attending(model.writer, to="memory"), "memory_plan"
    return attending(model.writer), "plan"


def _item(found: Any, number: int, key: str, what: str) -> Any:
    if not 0 <= number < len(found):
        raise ValueError(f"{key}: received {number}, accepted 0 to {len(found) - 1}, the {what}")
    return found[number]
