"""Which task of a model an input is for, or a wish."""

from collections.abc import Mapping, Sequence
from typing import Any

from omniformer.inputs import looks_like, need_text
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer


def route(model: OmniFormer, members: Mapping[str, Member], raw: Any, name: str = "input") -> str:
    """The task that a raw input is for, by its modality; one that predicts before one that finds hidden tokens, and
    this before one that only writes. What looks like nothing known goes to a model of one modality.

    Args:
        model: has the tasks' heads.
        members: what belongs to each task, by name.
        raw: the input.
        name: names it in messages.

    Raises:
        ValueError: no task fits, or several do.
    """
    taken = sorted({modality for member in members.values() for modality in member.takes})
    tokenizers = [each for member in members.values() for each in member.tokenizers.values()]
    modality = looks_like(raw, tokenizers)
    wanted = {modality}
    parts = [looks_like(each, tokenizers) for each in raw] if isinstance(raw, list) else raw
    if isinstance(parts, list | Mapping) and parts and set(parts) <= set(taken):
        wanted = set(parts)
        modality = " and ".join(map(str, parts))
    fitting = [task for task, member in members.items() if wanted <= set(member.takes)]
    # By another name: texts that a model knows as the source of what it says.
    fitting = fitting or [task for task, member in members.items() if wanted <= member.kinds]
    if isinstance(raw, str) and not fitting:
        need_text(name, raw, {key: each.tokenizers[key] for each in members.values() for key in each.takes})
        fitting = [task for task, member in members.items() if member.reads_text]
    if modality is None and not fitting and len(taken) == 1:
        fitting = list(members)  # whose tokenizer says whether it is one of its own
    ranks = {task: _rank(model, task) for task in fitting}
    fitting = [task for task in fitting if ranks[task] == min(ranks.values())]
    if len(fitting) != 1:
        raise ValueError(
            f"{name} looks like {modality or 'no known modality'}; "
            + (
                f"several tasks take it: {fitting}; choose one with member="
                if fitting
                else f"this model takes {', '.join(taken)}"
            )
        )
    return fitting[0]


def only(able: Sequence[str], members: Mapping[str, Member], member: str | None, lacking: str, wanted: str) -> str:
    """The one task that is able to do something, or the named one of them.

    Args:
        able: the names of those that are.
        members: all tasks, by name.
        member: the name of the task that is meant, where one is.
        lacking: what the model does not do where none is, for messages.
        wanted: what to train then.

    Raises:
        ValueError: no task is able, or several are and none is meant, or another is meant.

    Example:
        >>> only(["prose"], {"prose": Member(tokenizers={})}, None, "writes nothing", "one with modality=text")
        'prose'
    """
    if not able:
        raise ValueError(f"this model {lacking}, it has only {', '.join(members)}; train {wanted}")
    if member is None and len(able) > 1:
        raise ValueError(f"several tasks could answer: {', '.join(able)}; choose one with member=")
    if member is not None and member not in able:
        raise ValueError(f"member={member!r} is no task of this kind in this model; choose one of {', '.join(able)}")
    return member or able[0]


def _rank(model: OmniFormer, task: str) -> int:
    if model.makes(task) == "hidden":
        return 1
    head = model.head(task)
    return 2 if head.makes and head.instead else 0
