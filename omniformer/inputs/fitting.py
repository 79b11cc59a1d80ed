"""Texts that are longer than a model can read: what is kept of them, and what is said of it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from omniformer_tokenizers import Tokenizer
from omniformer_tokenizers.text.shortening import shortened

from omniformer.batch import Sample
from omniformer.model import OmniFormer

log = logging.getLogger(__name__)


def places(model: OmniFormer, modality: str) -> int | None:
    """How many tokens of one modality a sample may have; None where there is no end."""
    return getattr(model.embedders[modality], "max_tokens", None)


def fitted(
    samples: Sequence[Sample],
    model: OmniFormer,
    tokenizers: Mapping[str, Tokenizer],
    most: Mapping[str, int | None] | None = None,
) -> list[Sample]:
    """Samples of which each text fits into the positions of a model, cut as training cuts; it is said which were.

    Args:
        samples: what a model is given.
        model: reads them.
        tokenizers: by modality.
        most: tokens of a sample by modality, where that is less than the positions of the model.
    """
    found, said = [], []
    for sample in samples:
        pieces = [
            shortened(each, tokenizers[each.modality], _most(model, each.modality, most)) for each in sample.pieces
        ]
        said += [
            f"{sample.id} ({len(before)} tokens of {before.modality}, of which {len(after)} are read)"
            for before, after in zip(sample.pieces, pieces, strict=True)
            if len(after) < len(before)
        ]
        found.append(replace(sample, pieces=pieces))
    if said:
        more = f", and {len(said) - 5} more" if len(said) > 5 else ""
        log.warning("cut, since this model reads no more: %s%s; truncate=False refuses them", ", ".join(said[:5]), more)
    return found


def refuse_long(samples: Sequence[Sample], model: OmniFormer, most: Mapping[str, int | None] | None = None) -> None:
    """Refuses what has more tokens of a modality than a model has positions, or than `most` says.

    Raises:
        ValueError: as said; names the sample.
    """
    for sample in samples:
        for piece in sample.pieces:
            end = _most(model, piece.modality, most) if piece.modality in model.embedders else None
            if end is not None and len(piece) > end:
                raise ValueError(
                    f"{sample.id} has {len(piece)} tokens of {piece.modality}, this model has positions for {end}; "
                    "give less of it, or truncate"
                )


def _most(model: OmniFormer, modality: str, most: Mapping[str, int | None] | None) -> int | None:
    return places(model, modality) if most is None else most[modality]
