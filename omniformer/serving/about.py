"""What a model takes and does, for its clients and for the page to try it in."""

from typing import Any

from omniformer.generation.makers import maker_of
from omniformer.generation.writer import Writer
from omniformer.inputs import SUFFIXES, reads_text
from omniformer.inputs.member import Member
from omniformer.predictor import Predictor

_DOES = {"ids": "write", "pictures": "write", "transcripts": "write", "hidden": "predict"}


def about(predictor: Predictor) -> list[dict[str, Any]]:
    """The tasks of a model as plain values: what each `takes`, by modality, and what it `does`: `predict`, `write` or
    `embed`.

    Args:
        predictor: the model.
    """
    return [_task(predictor, name, member) for name, member in predictor.members.items()]


def chats(predictor: Predictor) -> bool:
    """Whether there is a task that writes in conversations, by a chat template."""
    return any(
        maker_of(predictor.model, name, member) is Writer and not member.given and _template(member)
        for name, member in predictor.members.items()
    )


def _template(member: Member) -> bool:
    return any(getattr(each, "chat", None) is not None for each in member.tokenizers.values())


def _task(predictor: Predictor, name: str, member: Member) -> dict[str, Any]:
    head, makes = predictor.model.head(name), predictor.model.makes(name)
    does = _DOES.get(makes or "", "embed" if head.instead else "predict")
    maker: Any = maker_of(predictor.model, name, member)
    writer = maker.of(predictor.model, name, member) if maker is not None else None
    takes = member.takes if writer is None or writer.given or writer.writes_text else ()
    kinds = {modality: member.tokenizers[modality] for modality in takes}
    return {
        "name": name,
        "does": does,
        "hidden": makes == "hidden",
        "compares": head.compares,
        "labels": len(member.labels),
        "goes_on": writer is not None and writer.writes_text and not writer.given,
        "streams": isinstance(writer, Writer) and writer.writes_text,
        "writes": None if writer is None else _written(writer, member),
        "takes": [
            {
                "name": modality,
                "kind": tokenizer.modality,
                "text": reads_text(tokenizer),
                "suffixes": [*SUFFIXES.get(tokenizer.modality, ()), *tokenizer.suffixes],
            }
            for modality, tokenizer in kinds.items()
        ],
    }


def _written(writer: Any, member: Member) -> str:
    """The kind of what is written."""
    modality = getattr(writer, "modality", None)
    return "text" if writer.writes_text or modality is None else member.tokenizers[modality].modality
