"""The card of a model: a README.md beside its weights that says what it is and how to use it, for people and for the
hub; no word of it is guessed, and no number stands there that was not measured.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from omniformer.pages.blocks import Block, Command, Section, Table, Words
from omniformer.pages.page import markdown_page
from omniformer.predictor import Member, Predictor

log = logging.getLogger(__name__)

CARD_FILE = "README.md"
MARK = "# Written by omniformer, and anew with the weights. Take this line out, and your own words stay."
_MOST_CLASSES = 30
_CLASSES_OF = {
    "vision": "image-classification",
    "text": "text-classification",
    "audio": "audio-classification",
    "graph": "graph-ml",
}
_MADE = {
    "ids": "text-generation",
    "hidden": "fill-mask",
    "transcripts": "automatic-speech-recognition",
    "pictures": "unconditional-image-generation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number that was measured.

    Args:
        member: the task.
        metric: its name, without the split.
        value: the number.
        data: which data.
        split: which part of them.
    """

    member: str
    metric: str
    value: float
    data: str
    split: str


def card(
    predictor: Predictor,
    *,
    title: str,
    place: str = "the/folder/of/this/file",
    licence: str | None = None,
    sections: Sequence[Section] = (),
    scores: Sequence[Score] = (),
) -> str:
    """The text of a card: a head in YAML as the hub reads it, and a page in Markdown.

    All that it is told is text in it, whatever signs stand there.

    Args:
        predictor: the model.
        title: its name.
        place: by which it is loaded: a folder, or a name on the hub.
        licence: as the hub spells it, such as `apache-2.0`; None where nobody has said one.
        sections: what a run knows beside: data, results, how it was made.
        scores: what was measured, for the head.

    Example:
        >>> from omniformer.core import Transformer
        >>> from omniformer.model import OmniFormer
        >>> core = Transformer(d_model=16, n_layers=1, n_heads=2)
        >>> print(card(Predictor(OmniFormer(core=core, embedders={}, heads={}), {}), title="small"))
        ---
        # Written by omniformer...
        library_name: omniformer
        ...
    """
    title = " ".join(title.split())
    kinds = {name: pipeline(predictor, name, member) for name, member in predictor.members.items()}
    head: dict[str, Any] = {"library_name": "omniformer"}
    if licence is not None:
        head["license"] = licence
    if len(told := set(kinds.values())) == 1 and None not in told:
        head["pipeline_tag"] = told.pop()
    head["tags"] = ["omniformer", *_modalities(predictor)]
    if scores:
        head["model-index"] = [{"name": title, "results": [_result(each, kinds.get(each.member)) for each in scores]}]
    lead = "A model of OmniFormer: one transformer core that learns from text, images, audio and graphs."
    every = [_what(predictor), *sections, _use(predictor, place), _limits(predictor, licence)]
    return f"---\n{MARK}\n{_yaml(head)}---\n\n{markdown_page(title, lead, every)}"


def write_card(folder: Path, text: str) -> None:
    """Puts a card into a folder; one that somebody has taken over, by taking out its mark, stays, and is named.

    Args:
        folder: is there already.
        text: from `card`.
    """
    path = folder / CARD_FILE
    if path.exists() and not is_ours(path):
        log.warning("%s has words of somebody else and stays as it is; remove it to have it written anew", path)
        return
    path.write_text(text, encoding="utf-8")


def is_ours(path: Path) -> bool:
    """Whether a card is as it was written here."""
    return MARK in path.read_text(encoding="utf-8", errors="replace")


def pipeline(predictor: Predictor, name: str, member: Member) -> str | None:
    """What the hub calls a task; None where it has no word for it.

    Args:
        predictor: the model.
        name: of the task.
        member: what belongs to it.
    """
    head, reads = predictor.model.head(name), set(member.tokenizers)
    if (made := predictor.model.makes(name)) is not None:
        return _MADE[made] if reads <= {"text"} or made != "ids" else None
    if head.compares:
        return "zero-shot-image-classification" if reads == {"vision", "text"} else None
    if head.embeds:
        return "sentence-similarity"
    if head.answers == "span":
        return "question-answering"
    if not head.tells_classes or len(reads) != 1:
        return None
    if head.per_token:
        return "token-classification" if reads == {"text"} else None
    return _CLASSES_OF.get(*reads)


def _modalities(predictor: Predictor) -> list[str]:
    named = [each for member in predictor.members.values() for each in member.tokenizers]
    return list(dict.fromkeys([*named, *predictor.tokenizers]))


def _result(score: Score, kind: str | None) -> dict[str, Any]:
    """A number as the hub's index of models has it."""
    return {
        "task": {"type": kind or "other", "name": score.member},
        "dataset": {"type": score.data, "name": score.data, "split": score.split},
        "metrics": [{"type": score.metric, "value": score.value, "name": f"{score.metric} ({score.split})"}],
    }


def _yaml(head: dict[str, Any]) -> str:
    """Without line breaks in values, so that nothing that stands there can end the head."""
    return yaml.safe_dump(_one_line(head), sort_keys=False, width=100_000)


def _one_line(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _one_line(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_one_line(each) for each in value]
    return " ".join(value.split()) if isinstance(value, str) else value


def _what(predictor: Predictor) -> Section:
    n = sum(parameter.numel() for parameter in predictor.model.parameters())
    rows = [
        [name, ", ".join(member.given or member.tokenizers), _answers(predictor, name, member)]
        for name, member in predictor.members.items()
    ]
    blocks: list[Block] = [Table(["task", "reads", "answers with"], rows)] if rows else []
    return Section("What it is", [*blocks, Words(f"{n:,} parameters.")])


def _answers(predictor: Predictor, name: str, member: Member) -> str:
    if member.labels:
        more = f" and {len(member.labels) - _MOST_CLASSES} more" if len(member.labels) > _MOST_CLASSES else ""
        return f"{len(member.labels)} classes: {', '.join(member.labels[:_MOST_CLASSES])}{more}"
    head = predictor.model.head(name)
    if head.compares or head.embeds:
        return "a vector, to compare inputs by"
    if (made := predictor.model.makes(name)) is not None:
        return {"ids": "what it writes", "hidden": "words for hidden tokens"}.get(made, made)
    if head.n_numbers:
        return f"{head.n_numbers} number{'s' if head.n_numbers > 1 else ''}"
    return "the place of an answer" if head.answers == "span" else "values"


def _use(predictor: Predictor, place: str) -> Section:
    heads = [predictor.model.head(name) for name in predictor.members]
    writes = any(predictor.model.makes(name) not in (None, "hidden") for name in predictor.members)
    calls = ["embed"] if not heads or any(each.compares or each.embeds for each in heads) else []
    calls += ["generate"] if writes else []
    calls += ["predict"] if any(not each.instead for each in heads) and not calls else []
    code = ["import omniformer", "", f"model = omniformer.load({place!r})", *(f"model.{call}([...])" for call in calls)]
    return Section("How to use it", [Command("\n".join(code))])


def _limits(predictor: Predictor, licence: str | None) -> Section:
    told = [
        f"{name} reads at most {member.max_seq_len:,} tokens of an input; what is longer is cut, and named."
        for name, member in predictor.members.items()
        if member.max_seq_len is not None
    ]
    told += [
        f"{name} names one of its classes for every input, whatever is in it."
        for name, member in predictor.members.items()
        if member.labels and predictor.model.head(name).tells_classes
    ]
    told.append("What is not said above was not measured: other data, other languages, other people, other uses.")
    if licence is None:
        told.append("Nobody has said under which licence it may be used.")
    return Section("Limits", [Words(each) for each in told])
