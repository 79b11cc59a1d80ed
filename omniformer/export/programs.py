"""Which programs serve a task."""

from typing import Any

from omniformer_tokenizers import Tokenizer

from omniformer.core.padded import refuse
from omniformer.export.decoder import Decoder
from omniformer.export.encoder import Encoder, Given, Tower
from omniformer.export.program import Program
from omniformer.model import OmniFormer
from omniformer.predictor import Member


def programs(model: OmniFormer, name: str | None, member: Member | None) -> dict[str, Program]:
    """The programs of a task, by the name of their file.

    Args:
        model: in evaluation mode.
        name: the name of the task; None for a model without heads.
        member: what belongs to the task.

    Raises:
        ValueError: the task, its rule, or a part of the model, cannot be exported; says which and why.
    """
    if (why := model.rule(name).refusal()) is not None:
        raise ValueError(why)
    tokenizers: dict[str, Tokenizer | None] = dict(member.tokenizers) if member else {}
    tokenizers = tokenizers or dict.fromkeys(model.embedders)
    if name is None:
        return {"model": Encoder(model, None, tokenizers)}
    head: Any = model.head(name)
    refuse(head)
    if head.compares:
        return {each: Tower(model, name, {each: tokenizers.get(each)}) for each in head.modalities}
    if model.makes(name) != "ids":
        return {"model": Encoder(model, name, tokenizers)}
    written = tokenizers.get(head.modality)
    if model.writer.reads_memory:
        names = (member.given if member else ()) or [each for each in model.embedders if each != head.modality]
        given = Given(model, name, {each: tokenizers.get(each) for each in names})
        return {"encoder": given, "decoder": Decoder(model, name, written, given)}
    if reads := (*(member.given if member else ()), *(written.placeholders if written else ())):
        raise ValueError(
            f"{name!r} reads {', '.join(reads)} and what it writes as one sequence, which cannot be exported; "
            "let a core with cross-attention read it (core=encoder_decoder_tiny)"
        )
    return {"decoder": Decoder(model, name, written)}
