"""The tensors of a published file, copied into a model."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from omniformer.model import OmniFormer
from omniformer.pretrained.family import Family
from omniformer.pretrained.files.checkpoint import CONFIG_FILE, Checkpoint
from omniformer.pretrained.names import Name, brief, lines_of, parameters_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of the tensors of a published file.

    Args:
        loaded: how many were taken over.
        ignored: tensors that hold no knowledge, such as masks and second names of tied tables.
        unexpected: tensors that the model has no place for: those of a head that it was loaded without.
    """

    loaded: int
    ignored: tuple[str, ...]
    unexpected: tuple[str, ...]


def fill(model: OmniFormer, family: Family, checkpoint: Checkpoint) -> Report:
    """Copies the tensors of a file into a model.

    Raises:
        ValueError: a tensor is missing, has another shape than the configuration says, or another of its places in the
            file holds other numbers.
    """
    lines, expected = lines_of(family.names(), model, family.architecture)
    renamed = {name: _read_from(each[0], family, checkpoint.where) for name, each in lines.items()}
    if missing := [name for name, found in renamed.items() if found is None and lines[name][0].absent is None]:
        raise ValueError(f"{checkpoint.folder} lacks {brief(missing)}, which its {CONFIG_FILE} asks for")
    wrong = [
        f"{found} is {list(checkpoint.shapes[found])}, {CONFIG_FILE} says {list(expected[name])}"
        for name, found in renamed.items()
        if found is not None and name in expected and checkpoint.shapes[found] != expected[name]
    ]
    if wrong:
        raise ValueError(f"{checkpoint.folder}: {brief(wrong)}")
    ours: dict[str, list[Name]] = {}
    for name, found in renamed.items():
        if found is not None:
            ours.setdefault(found, []).extend(lines[name])
    parameters = parameters_of(model)
    with torch.no_grad():
        shared = [found for found, each in ours.items() if each[0].their_rows is not None]
        for found, first, rows in checkpoint.pieces(ours, whole=shared):
            for line in ours[found]:
                line.read(rows, first, parameters[line.ours])
            del rows
        for line in (line for name, found in renamed.items() if found is None for line in lines[name]):
            line.part(parameters[line.ours]).fill_(line.absent or 0.0)
    repeated = _repeated(ours, family, checkpoint, parameters)
    rest = [name for name in checkpoint if name not in ours]
    ignored = tuple(name for name in rest if name in repeated or _is_ignored(name, family))
    unexpected = tuple(name for name in rest if name not in ignored)
    if unexpected:
        has_no = f"{family.architecture} has no place for {brief(unexpected)}"
        log.warning("%s holds more than was read: %s", checkpoint.folder, has_no)
    return Report(loaded=len(ours), ignored=ignored, unexpected=unexpected)


def _is_ignored(name: str, family: Family) -> bool:
    return any(fnmatchcase(each, pattern) for each in (name, family.prefix + name) for pattern in family.ignored)


def _found(name: str, family: Family, there: Mapping[str, Any]) -> str | None:
    """The name under which a tensor stands in a file, which may leave out the prefix of the whole model, or end in
    another way.
    """
    ends = [(end, other) for end, other in family.aliases.items() if name.endswith(end)]
    spelled = [name, *(name.removesuffix(end) + other for end, other in ends)]
    prefix = family.prefix
    return next(
        (each for one in spelled for each in (one, one.removeprefix(prefix), prefix + one) if each in there), None
    )


def _read_from(line: Name, family: Family, there: Mapping[str, Any]) -> str | None:
    """The name of the tensor that a line is read from: the first of its own names that the file has."""
    places = (_found(name, family, there) for name in (line.theirs, *line.also, *line.instead))
    return next((found for found in places if found is not None), None)


def _repeated(
    ours: Mapping[str, Sequence[Name]], family: Family, checkpoint: Checkpoint, parameters: Mapping[str, Tensor]
) -> set[str]:
    """The tensors that repeat what was read from another one.

    Raises:
        ValueError: one of them holds other numbers.
    """
    places = [
        (_found(name, family, checkpoint.where), read, line)
        for read, lines in ours.items()
        for line in lines
        for name in line.also
    ]
    again = {found: (read, line) for found, read, line in places if found is not None and found not in ours}
    for found, first, rows in checkpoint.pieces(again):
        read, line = again[found]
        if checkpoint.shapes[found] != checkpoint.shapes[read] or not line.agrees(rows, first, parameters[line.ours]):
            raise ValueError(
                f"{checkpoint.folder} holds different numbers as {read} and as {found}, which are one and the same in "
                f"a {family.architecture} of its {CONFIG_FILE}"
            )
        del rows
    return set(again)
