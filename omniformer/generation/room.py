"""How many ids fit behind what a sample holds, in the positions that a model has."""

from omniformer.batch import Sample
from omniformer.inputs.fitting import places
from omniformer.model import OmniFormer


def room_for(sample: Sample, model: OmniFormer, modality: str) -> int | None:
    """How many more ids fit into the positions that a model has for what is written; None where these have no end.

    Args:
        sample: with what it is given, and what is written already.
        model: that writes.
        modality: of what is written.

    Raises:
        ValueError: none fits; names the sample.
    """
    most = places(model, modality)
    if most is None:
        return None
    taken = before(sample, model, modality) + sum(len(piece) for piece in sample.answer)
    if taken >= most:
        raise ValueError(
            f"{sample.id} has {taken} tokens before its answer, this model has places for {most} with it; give less"
        )
    return most - taken


def before(given: Sample, model: OmniFormer, modality: str) -> int:
    """How many tokens before the answer count on the same axis: those of its modality, in a joint sequence."""
    n_tokens = sum(len(piece) for piece in given.pieces if piece.modality == modality)
    return 0 if n_tokens and model.writer.reads_memory else n_tokens  # the writer looks through all of its parts
