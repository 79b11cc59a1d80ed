"""What a batch has begun: its samples, what is written of each, and how an answer begins."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from omniformer_tokenizers import Tokens, framed, unpack

from omniformer.batch import Batch, Sample, collate


def samples_of(batch: Batch) -> list[Sample]:
    """The samples of a batch with their pieces and answers, without targets; pieces without tokens are left out.

    Example:
        >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
        >>> batch = collate([Sample(id="a", pieces=[word]), Sample(id="b", pieces=[word, word])])
        >>> [len(sample.pieces) for sample in samples_of(batch)]
        [1, 2]
    """
    ends = batch.lengths.cumsum(0)
    found: list[list[tuple[int, Tokens]]] = [[] for _ in range(len(batch))]
    for name, part in batch.parts.items():
        places = batch.places[name].cpu().split(part.lengths.tolist())
        for piece, place in zip(unpack(part), places, strict=True):
            if len(place):
                found[int(torch.searchsorted(ends, place[0], right=True))].append((int(place[0]), piece))
    pieces = [[piece for _, piece in sorted(rows, key=lambda row: row[0])] for rows in found]
    answers = [sample.pieces for sample in samples_of(batch.answer)] if batch.answer is not None else [()] * len(batch)
    prefix = batch.prefix.tolist()
    return [
        Sample(id=name, pieces=pieces[i], answer=answers[i], prefix=int(prefix[i])) for i, name in enumerate(batch.ids)
    ]


def begin(batch: Batch, start: int | Sequence[int], *, modality: str = "text", axes: int = 1) -> Batch:
    """The same samples with nothing written yet but the start id: what a model goes on from.

    Args:
        batch: what the samples are given; an answer that it has is left out.
        start: the id from which the model begins to write, or several (`tokenizer.beginning`).
        modality: of what is written.
        axes: on how many axes it lies.

    Example:
        >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
        >>> begin(collate([Sample(id="a", pieces=[word])]), start=0).answer.parts["text"].values.tolist()
        [0]
    """
    nothing = Tokens(values=torch.zeros(0, dtype=torch.long), positions=torch.zeros(0, axes), modality=modality)
    answer = collate([Sample(id=name, pieces=[framed(nothing, start=start)]) for name in batch.ids])
    return replace(batch, answer=answer.to(batch.prefix.device))


def written_of(sample: Sample, modality: str) -> list[int]:
    """What is written of a sample."""
    if named := sorted({piece.modality for piece in sample.answer} - {modality}):
        raise ValueError(f"sample {sample.id!r} answers with {', '.join(named)}; this head writes {modality!r}")
    ids = [chosen for piece in sample.answer for chosen in piece.values.tolist()]
    if not ids:
        raise ValueError(f"sample {sample.id!r} has nothing to go on from; begin its answer with the start id")
    return ids


def last_of(answer: Tokens) -> list[Tokens]:
    """The last token of an answer by itself."""
    return [Tokens(values=answer.values[-1:], positions=answer.positions[-1:], modality=answer.modality)]
