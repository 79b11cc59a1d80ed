"""Answers of a model to a batch: all at once, or id by id as they are chosen."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from torch import Tensor

from omniformer.batch import Batch
from omniformer.generation.adjusting import Adjustment, AtLeast
from omniformer.generation.allowed import Allowed
from omniformer.generation.draft import Draft
from omniformer.generation.sampling import Sampling
from omniformer.generation.session import Caching, Session
from omniformer.generation.strategy import Chosen, Strategy, Until, Written
from omniformer.model import OmniFormer

DEFAULT_LENGTH = 256
"""Ids after which an answer of any length ends at the latest, where nothing else is asked for."""


def write(
    model: OmniFormer,
    head: str,
    batch: Batch,
    *,
    strategy: Strategy,
    stop: Collection[int] = (),
    max_new_tokens: int | None = None,
    positions: Tensor | None = None,
    until: Until | None = None,
    cache: Caching = "growing",
    guidance: float = 1.0,
    max_seq_len: int | None = None,
    allowed: Allowed | None = None,
    adjust: Sequence[Adjustment] = (),
    min_new_tokens: int = 0,
    draft: Draft | None = None,
) -> list[list[Written]]:
    """What a model answers to each sample of a batch, the best answer first.

    Answers do not depend on who else is in the batch.

    Args:
        model: in evaluation mode.
        head: the name of a head that makes ids, such as `NextTokenHead`.
        batch: what the samples are given, with answers that have begun: see `begin`.
        strategy: `Greedy()`, `Sampling(...)` or `BeamSearch(...)`.
        stop: ids that end an answer and are no part of it.
        max_new_tokens: when to end at the latest; by default where positions end, after `DEFAULT_LENGTH` at the latest.
        positions: coordinates of all tokens of an answer, the start id first; see `Session`, as for the rest.
        until: asked after each id whether an answer is complete.
        cache: "growing", "static", "sliding" or "none".
        guidance: how much more what is given shall count; 1 is no guidance.
        max_seq_len: most tokens of an answer that the model reads.
        allowed: which ids may be written, and where; all, everywhere by default.
        adjust: what changes the scores of the next id, one after the other: `NoRepeat(3)`, `Penalties(presence=1)`.
        min_new_tokens: how many ids an answer has at least before a stop id may end it.
        draft: guesses ids for `Greedy` and `Sampling`, so that the model reads several in one pass; none by default.

    Raises:
        ValueError: a number is out of its range, or the batch does not fit the model; see `Session`.

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import Tokens
        >>> from omniformer.batch import Sample, collate
        >>> from omniformer.core import Transformer
        >>> from omniformer.core.rules import Causal
        >>> from omniformer.embedders import IdEmbedder
        >>> from omniformer.generation import BeamSearch
        >>> from omniformer.heads import NextTokenHead
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2),
        ...     embedders={"text": IdEmbedder(d_model=16, vocab_size=20)},
        ...     heads={"lm": NextTokenHead(d_model=16, vocab_size=20)},
        ...     rules={"lm": Causal()},
        ... )
        >>> start = Tokens(values=torch.tensor([0]), positions=torch.zeros(1, 1), modality="text")
        >>> batch = collate([Sample(id="a", pieces=[], answer=[start])])
        >>> ((best,),) = write(model, "lm", batch, strategy=BeamSearch(), stop={0}, max_new_tokens=5)
        >>> len(best.ids) <= 5
        True
    """
    if draft is not None and not isinstance(strategy, Sampling):
        raise ValueError(f"a draft guesses for Sampling and Greedy alone, not for {strategy}; leave out the draft")
    session, limit = _opened(
        model, head, batch, max_new_tokens=max_new_tokens, positions=positions, cache=cache, guidance=guidance,
        max_seq_len=max_seq_len, allowed=allowed, adjust=_adjusted(adjust, min_new_tokens, stop), draft=draft,
    )  # fmt: skip
    return strategy.write(session, stop=stop, max_new_tokens=limit, until=until)


def stream(
    model: OmniFormer,
    head: str,
    batch: Batch,
    *,
    strategy: Sampling,
    stop: Collection[int] = (),
    max_new_tokens: int | None = None,
    positions: Tensor | None = None,
    until: Until | None = None,
    cache: Caching = "growing",
    guidance: float = 1.0,
    max_seq_len: int | None = None,
    allowed: Allowed | None = None,
    adjust: Sequence[Adjustment] = (),
    min_new_tokens: int = 0,
    draft: Draft | None = None,
) -> Iterator[Chosen]:
    """The ids of `write`, one at a time as they are chosen, those of all samples in turn; stop ids are flagged.

    Arguments as for `write`.

    Raises:
        ValueError: the strategy cannot tell an id before the answer is complete.
    """
    if not isinstance(strategy, Sampling):
        raise ValueError(f"{strategy} knows its answer at the end only; stream with Sampling or Greedy, or write")
    session, limit = _opened(
        model, head, batch, max_new_tokens=max_new_tokens, positions=positions, cache=cache, guidance=guidance,
        max_seq_len=max_seq_len, allowed=allowed, adjust=_adjusted(adjust, min_new_tokens, stop), draft=draft,
    )  # fmt: skip
    return strategy.stream(session, stop=stop, max_new_tokens=limit, until=until)


def _adjusted(adjust: Sequence[Adjustment], least: int, stop: Collection[int]) -> Sequence[Adjustment]:
    """What changes the scores, with the least length of answers."""
    if least < 0:
        raise ValueError(f"min_new_tokens={least} must be at least 0")
    return (*adjust, AtLeast(least, stop)) if least else adjust


def _opened(
    model: OmniFormer,
    head: str,
    batch: Batch,
    *,
    max_new_tokens: int | None,
    positions: Tensor | None,
    cache: Caching,
    guidance: float,
    max_seq_len: int | None,
    allowed: Allowed | None,
    adjust: Sequence[Adjustment],
    draft: Draft | None,
) -> tuple[Session, int]:
    """A session, and how many ids may be written."""
    if max_new_tokens is not None and max_new_tokens < 0:
        raise ValueError(f"max_new_tokens={max_new_tokens} must be at least 0")
    limit = max_new_tokens
    if limit is None:
        limit = DEFAULT_LENGTH if positions is None else len(positions)
    options: dict[str, Any] = {
        "cache": cache, "max_new_tokens": limit, "positions": positions, "guidance": guidance, "allowed": allowed,
        "adjust": adjust,
    }  # fmt: skip
    session = Session(model, head, batch, max_seq_len=max_seq_len, **options)
    if draft is not None:
        draft.join(session, batch, **options)
    return session, limit if session.room is None else min(limit, session.room)
