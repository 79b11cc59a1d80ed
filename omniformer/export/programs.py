"""Which programs serve a task."""

from typing import Any

from omniformer_tokenizers import Tokenizer

from omniformer.core.padded import refuse
from omniformer.export.decoder import Decoder
from omniformer.export.encoder import Encoder, Given, Tower
from omniformer.export.program import Program
from omniformer.export.raw import FromRaw, Numbers
from omniformer.model import OmniFormer
from omniformer.predictor import Member


def programs(
    model: OmniFormer, name: str | None, member: Member | None, raw: Numbers | None = None
) -> dict[str, Program]:
    """The programs of a task, by the name of their file.

    Args:
        model: in evaluation mode.
        name: the name of the task; None for a model without heads.
        member: what belongs to the task.
        raw: what pictures and sounds hold that come in the place of their tokens; None for tokens.

    Raises:
        ValueError: the task, its rule, or a part of the model, cannot be exported, or nothing of it begins with
            pictures or sounds; says which and why.
    """
    made = _of_tokens(model, name, member)
    if raw is None:
        return made
    tokenizers = dict(member.tokenizers) if member else {}
    begun: dict[str, Program] = {}
    for stem, program in made.items():
        read = [door.modality for door in program.doors] if isinstance(program, Encoder) else []
        if len(read) > 1:
            raise ValueError(
                f"{name!r} reads {', '.join(read)}; programs that begin with raw samples read one modality: leave out "
                "raw"
            )
        if isinstance(program, Encoder) and read[0] in tokenizers and not program.doors[0].counted:
            begun[stem] = FromRaw(program, tokenizers[read[0]], raw)
    if not begun:
        raise ValueError(f"{name or 'the core'!r} reads no pictures and no sounds with a tokenizer; leave out raw")
    return made | begun


def _of_tokens(model: OmniFormer, name: str | None, member: Member | None) -> dict[str, Program]:
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
