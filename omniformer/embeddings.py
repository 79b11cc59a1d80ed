"""One vector for each sample, from what a core makes of its tokens."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from omniformer_tokenizers import Tokens
from omniformer_tokenizers.text.shortening import closing_specials
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.batch import Batch, Sample
from omniformer.core.layout import Layout
from omniformer.heads.pooling import FirstToken, MeanPool
from omniformer.inputs import Named, batch_of, by_kind, text_of, tokens_of
from omniformer.inputs.fitting import fitted, refuse_long
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer

Pooling = Callable[[Tensor, Layout], Tensor]
POOLS: dict[str, type[nn.Module]] = {"mean": MeanPool, "first": FirstToken}


def embeddings(
    model: OmniFormer, batch: Batch, head: str | None = None, *, pool: Literal["mean", "first"] | Pooling = "mean"
) -> Tensor:
    """Unit vectors of whole samples: the core's output over their tokens, pooled
    ([Reimers and Gurevych 2019](https://arxiv.org/abs/1908.10084), 3, who found the mean to be best).

    The tokens are read as the head's task reads them: under its rule, and where answers read a memory, by the encoder
    that makes it.

    Args:
        model: any that reads.
        batch: what samples are given; answers have no part in it.
        head: the task; None for a model without heads, whose tokens all read each other.
        pool: from the tokens of a sample to one vector: their "mean", the "first" of them, where data puts a class
            token, or a part called with the core's output and its layout, such as the pooling of a trained head.

    Shapes:
        float32 `[samples, d_model]`; zero for a sample without tokens.

    Raises:
        ValueError: the pooling is not known; or the core makes nothing of what is given, but lets answers read it as
            the embedders made it, or turns noise into pictures.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> from omniformer.batch import Sample, collate
        >>> from omniformer.core import Transformer
        >>> from omniformer.embedders import IdEmbedder
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2),
        ...     embedders={"text": IdEmbedder(d_model=16, vocab_size=257)},
        ...     heads={},
        ... )
        >>> vectors = embeddings(model, collate([Sample(id="hi", pieces=[ByteTokenizer()("hello")])]))
        >>> vectors.shape, round(vectors.norm().item(), 4)
        (torch.Size([1, 16]), 1.0)
    """
    x, layout = _read(model, batch, head)
    return F.normalize(_part(pool)(x, layout).float(), dim=-1)


def in_space(model: OmniFormer, samples: Sequence[Sample], head: str, *, batch_size: int = 64) -> Tensor:
    """Unit vectors of samples in the space of a head that compares.

    Args:
        model: in evaluation mode.
        samples: each of one modality.
        head: its name.
        batch_size: samples in one pass.

    Shapes:
        float32 `[samples, d_embedding]`, on the host.

    Raises:
        ValueError: a sample has several modalities, or none, or one without a place in that space.
    """
    reader: Any = model.head(head)
    rows = torch.zeros(len(samples), reader.d_embedding)
    for modality, chunk in by_kind([only_modality(sample) for sample in samples], batch_size):
        x, layout = model.encode(batch_of([samples[i] for i in chunk], model), head)
        rows[chunk] = reader.embed(x, layout, modality).cpu()
    return rows


def of_texts(
    model: OmniFormer,
    named: Named,
    head: str,
    member: Member,
    *,
    prompt: str | None = None,
    batch_size: int = 64,
    truncate: bool = True,
) -> Tensor:
    """Vectors of texts, as a head that embeds makes them.

    Args:
        model: in evaluation mode.
        named: texts, or files of them, with their names.
        head: its name.
        member: what belongs to it: its tokenizer, and the longest text.
        prompt: the name of what is put before each text; that of the head by default.
        batch_size: texts in one pass.
        truncate: whether texts that are too long are cut, and named in the log, or refused.

    Shapes:
        float32 `[texts, d_embedding]`, on the host.

    Raises:
        ValueError: an input is no text or too long, or there is no prompt of that name.
    """
    reader: Any = model.head(head)
    ((modality, tokenizer),) = member.tokenizers.items()
    before = reader.text_before(prompt)
    texts = [(name, reader.prompted(text_of(name, raw), prompt)) for name, raw in named]
    samples = [Sample(id=name, pieces=[tokens_of(name, modality, text, tokenizer)]) for name, text in texts]
    most = {modality: member.max_seq_len}
    if truncate:
        samples = fitted(samples, model, member.tokenizers, most)
    refuse_long(samples, model, most)
    skipped = (
        0
        if reader.pools_prompt or not before
        else _opening(tokens_of("prompt", modality, before, tokenizer), tokenizer)
    )
    rows = torch.zeros(len(named), reader.d_embedding)
    for _, chunk in by_kind([modality] * len(named), batch_size):
        batch = batch_of([samples[i] for i in chunk], model)
        rows[chunk] = reader(*_behind(*model.encode(batch, head), skipped)).float().cpu()
    return rows


def _opening(tokens: Tokens, tokenizer: Any) -> int:
    """How many tokens a prompt has in front of a text: without the special one that closes it by itself."""
    return len(tokens) - min(1, closing_specials(tokens.values.tolist(), tokenizer))


def _behind(x: Tensor, layout: Layout, n: int) -> tuple[Tensor, Layout]:
    """The tokens of each sample without its first ones."""
    if n == 0:
        return x, layout
    lengths = (layout.lengths - n).clamp(min=0).tolist()
    return x[layout.index >= n], Layout.from_lengths(*lengths, device=x.device)


def only_modality(sample: Sample) -> str:
    """The modality of a sample that is of one.

    Raises:
        ValueError: it has several, or none; names it.
    """
    modalities = {piece.modality for piece in sample.pieces}
    if len(modalities) != 1:
        raise ValueError(f"{sample.id}: an embedding is of one modality; received {', '.join(sorted(modalities))}")
    return modalities.pop()


def _part(pool: str | Pooling) -> Pooling:
    if callable(pool):
        return pool
    if pool not in POOLS:
        raise ValueError(f"pool={pool!r} is not known; choose {' or '.join(map(repr, POOLS))}, or give a part")
    return POOLS[pool](d_model=0)  # these two have no weights, and no use for a width


def _read(model: OmniFormer, batch: Batch, head: str | None) -> tuple[Tensor, Layout]:
    """The core's output for what samples are given."""
    makes = None if head is None else model.head(head).makes
    if makes == "pictures":
        raise ValueError(f"{head!r} turns noise into pictures; what it is given has no vector of its own")
    reads_memory, pair = model.writer.reads_memory, model.reader is not model.writer
    if reads_memory and not pair:
        raise ValueError(
            f"{head!r} lets answers read what is given as the embedders made it; the core makes no vectors of it"
        )
    if reads_memory and (head is None or makes == "ids"):
        memory = model.memory(batch)
        return memory.x, memory.layout
    return model.encode(batch, head)
