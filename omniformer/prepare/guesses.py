"""Of which kind a column is, and why: rules that are asked from top to bottom, the first answer counts."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omniformer.data.folders import PICTURES, SOUNDS
from omniformer.data.table.contents import series_in
from omniformer.data.table.splits import SYNONYMS
from omniformer.data.table.targets import yes_or_no
from omniformer.prepare.columns import Column
from omniformer.prepare.molecules import share_of_molecules

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
_MEDIA: dict[str, tuple[str, ...]] = {"vision": PICTURES, "audio": SOUNDS, "video": VIDEOS, "graph": (".json",)}
_MAGIC = (
    ("vision", (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"P6")),
    ("audio", (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"FORM")),
)
_ID = re.compile(r"(^|[_ .-])(id|ids|key|uid|uuid|index|__key__|idx)$", re.IGNORECASE)
_SPLIT = re.compile(r"^(split|subset|partition|fold|set)s?$", re.IGNORECASE)
_LABEL = re.compile(r"(^|[_ .-])(labels?|class(es)?|target|category|intent|sentiment|y)([_ .-]?id)?$", re.IGNORECASE)
_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?([T ]\d\d?:\d\d.*)?|\d\d?[-/.]\d\d?[-/.]\d{4}( \d\d?:\d\d.*)?")
_COMMA = re.compile(r"[-+]?\d+(\.\d{3})*(,\d+)?")
_SAID = re.compile(
    r"(^|[_ .-])(captions?|descriptions?|transcripts?|transcriptions?|translations?|summary|sentences?|texts?)$",
    re.IGNORECASE,
)
_TAG = 3  # words that the name of a tag has on average at most; else it is a text
_STEPS = 8  # numbers that a text holds at least that is taken for a series
_SOME = 200  # cells that are looked at closely
_REPEATED = 5  # rows a class has on average at least, so that it can be learned
_FEWEST = 2  # the same where its name says that it is one, as folders of classes do
_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Guess:
    """Of which kind a column is.

    Args:
        kind: the name of a modality, `category`, `tags`, `yes_no`, `number`, `words`, `split`, `id`, `name` (one word
            that tells rows apart), `date`, `comma` (numbers with a decimal comma), `constant` or `nothing`.
        why: what says so.
    """

    kind: str
    why: str


Rule = Callable[[Column], Guess | None]


def guess(column: Column) -> Guess:
    """The kind of a column, and why."""
    for rule in RULES:
        if (found := rule(column)) is not None:
            return found
    return Guess("nothing", f"cells of no kind that is known, such as {str(column.cells[0])[:40]!r}")


def _empty(column: Column) -> Guess | None:
    return None if column.cells else Guess("nothing", "all cells are empty")


def _constant(column: Column) -> Guess | None:
    if column.distinct > 1 or column.rows < 2 or column.kept == "bytes":
        return None
    return Guess("constant", f"all cells are {column.keys[0][:40]!r}")


def _split(column: Column) -> Guess | None:
    if not _SPLIT.match(column.name) or column.missing:
        return None
    names = sorted(set(column.keys))
    if all(name.strip().lower() in SYNONYMS for name in names) and len(names) > 1:
        return Guess("split", f"its name, and the values {', '.join(names)}")
    if "fold" in column.name.lower() and 3 <= len(names) <= 100 and all(name.isdecimal() for name in names):
        return Guess("split", f"its name, and the numbers of {len(names)} folds")
    return None


def _id(column: Column) -> Guess | None:
    if column.missing or column.distinct < column.rows or not _ID.search(column.name) or column.kept not in _PLAIN:
        return None
    return Guess("id", "its name, and no value is there twice")


def _bytes(column: Column) -> Guess | None:
    heads = [content for each in column.cells[:_SOME] if (content := _content(each)) is not None]
    if not heads or len(heads) < len(column.cells[:_SOME]):
        return None
    named = [str(each.get("path") or "") for each in column.cells if isinstance(each, Mapping)]
    for modality, magic in _MAGIC:
        if sum(head.startswith(magic) for head in heads) > len(heads) / 2:
            return Guess(modality, "bytes that begin as files of this kind do")
    if sum(head[:4] == b"RIFF" for head in heads) > len(heads) / 2:
        kind = "audio" if heads[0][8:12] == b"WAVE" else "vision"
        return Guess(kind, f"bytes that begin as RIFF {heads[0][8:12].decode('ascii', 'replace')}")
    return _by_suffix(named, "paths beside the bytes") or Guess("nothing", "bytes of a kind that is not known")


def _content(cell: Any) -> bytes | None:
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    return cell[:16] if isinstance(cell, bytes) else None


def _objects(column: Column) -> Guess | None:
    first = column.cells[0]
    if not isinstance(first, Mapping):
        return None
    if "array" in first and "sampling_rate" in first:
        return Guess("audio", "numbers with a sampling rate")
    if "path" in first:
        return _by_suffix([str(each.get("path")) for each in column.cells], "paths in objects")
    return Guess("graph", "objects with nodes and edges") if {"n_nodes", "edges"} <= first.keys() else None


def _paths(column: Column) -> Guess | None:
    if column.kept != "str" or any("\n" in each for each in column.cells[:_SOME]):
        return None
    return _by_suffix(column.cells[:_SOME], "paths")


def _by_suffix(paths: Sequence[str], what: str) -> Guess | None:
    for modality, suffixes in _MEDIA.items():
        fitting = [path for path in paths if path.lower().endswith(suffixes)]
        if paths and len(fitting) > 0.9 * len(paths):
            return Guess(modality, f"{what} that end in {'.' + fitting[0].rpartition('.')[2]}")
    return None


def _lists(column: Column) -> Guess | None:
    if column.kept != "list":
        return None
    inner = [each for cell in column.cells[:_SOME] for each in cell]
    if inner and all(isinstance(each, str) for each in inner):
        different = len(set(inner))
        if len(inner) >= _REPEATED * different and len(inner) / len(column.cells[:_SOME]) < 5:
            return Guess("tags", f"lists of {different} names that come again")
        return Guess("words", f"lists of words, {different} different ones in {len(column.cells[:_SOME])} rows")
    if inner and all(isinstance(each, int | float | list | None) for each in inner):
        return Guess("series", "lists of numbers")
    return None


def _yes_no(column: Column) -> Guess | None:
    if column.distinct > 2 + len(_EMPTY) or column.kept not in _PLAIN:
        return None
    try:
        answers = {answer for each in set(column.keys) if (answer := yes_or_no(each)) == answer}
    except ValueError:
        return None
    return Guess("yes_no", f"nothing but {', '.join(sorted(set(column.keys)))}") if answers else None


def _numbers(column: Column) -> Guess | None:
    if column.numbers is None:
        return None
    known = [each for each in column.numbers if each == each]
    whole = all(each.is_integer() for each in known)
    n = len(set(known))
    span = f"{min(known):,.10g} to {max(known):,.10g}"
    if whole and n == len(known) > 10 and max(known) - min(known) == n - 1:
        return Guess("id", f"whole numbers, {span}, each once")
    if whole and (_LABEL.search(column.name) or (min(known) == 0 and max(known) == n - 1)) and _repeated(column, n):
        return Guess("category", f"{n} whole numbers, {span}, that come again")
    return Guess("number", f"{'whole numbers' if whole else 'numbers'} from {span}")


def _dates(column: Column) -> Guess | None:
    if column.kept != "str" or not all(_DATE.fullmatch(each.strip()) for each in column.cells[:_SOME]):
        return None
    return Guess("date", f"dates, such as {column.cells[0]}")


def _commas(column: Column) -> Guess | None:
    some = [each.strip() for each in column.cells[:_SOME]] if column.kept == "str" else []
    if not any("," in each for each in some) or not all(_COMMA.fullmatch(each) for each in some):
        return None
    return Guess("comma", f"numbers with a decimal comma, such as {next(each for each in some if ',' in each)!r}")


def _series(column: Column) -> Guess | None:
    some = [series_in(each) for each in column.cells[:_SOME]] if column.kept == "str" else []
    if not some or any(found is None or len(found) < _STEPS for found in some):
        return None
    numbers = all(isinstance(each, int | float | list | None) for found in some for each in found or ())
    return Guess("series", f"numbers one after the other, such as {column.cells[0][:30]!r}") if numbers else None


def _molecules(column: Column) -> Guess | None:
    if column.kept != "str" or column.distinct < 10:
        return None
    share, how = share_of_molecules(column.cells[:_SOME], column.name)
    return Guess("graph", f"{share:.0%} of them {how}") if share >= 0.9 else None


def _questions(column: Column) -> Guess | None:
    if column.kept != "str" or not all(each.rstrip().endswith(("?", "\uff1f")) for each in column.cells[:_SOME]):
        return None
    return Guess("text", "questions, also where they come again")


def _said(column: Column) -> Guess | None:
    """Captions and the like are texts also where they come again, as those that are made by a pattern do."""
    if column.kept != "str" or not _SAID.search(column.name):
        return None
    words = sum(len(each.split()) for each in column.cells) / len(column.cells)
    return Guess("text", f"its name, and {words:.1f} words on average") if words > _TAG else None


def _category(column: Column) -> Guess | None:
    if column.kept not in _PLAIN or max(map(len, column.keys)) > 80:
        return None
    n = column.distinct
    if n <= 2 or _repeated(column, n):
        return Guess("category", f"{n} values in {len(column.cells)} cells")
    words = sum(len(str(each).split()) for each in column.cells) / len(column.cells)
    if is_target_name(column.name) and words <= _TAG and n <= min(_CLASSES, len(column.cells) // _FEWEST):
        return Guess("category", f"its name, and {n} values in {len(column.cells)} cells")
    return None


def _tags(column: Column) -> Guess | None:
    if column.kept != "str":
        return None
    parts = [part.strip() for each in column.cells for part in each.split(";") if part.strip()]
    n = len(set(parts))
    several = sum(";" in each for each in column.cells) > 0.2 * len(column.cells)
    short = sum(len(part.split()) for part in parts) <= _TAG * len(parts)
    if several and short and n <= _CLASSES and len(parts) >= _REPEATED * n:
        return Guess("tags", f"{n} names with ';' between them")
    return None


def _text(column: Column) -> Guess | None:
    if column.kept != "str":
        return None
    words = sum(len(each.split()) for each in column.cells) / len(column.cells)
    if words < 1.5 and column.distinct > 0.9 * len(column.cells):
        return Guess("name", "single words, nearly each of them once")
    return Guess("text", f"{words:.1f} words on average")


_PLAIN = ("str", "int", "bool", "float")
_EMPTY = ("na", "nan", "?")
RULES: tuple[Rule, ...] = (
    *(
        _empty,
        _split,
        _id,
        _bytes,
        _constant,
        _objects,
        _paths,
        _lists,
        _yes_no,
        _numbers,
        _dates,
        _commas,
        _series,
        _molecules,
        _tags,
        _questions,
        _said,
        _category,
    ),
    _text,
)


def _repeated(column: Column, n: int) -> bool:
    return n <= _CLASSES and len(column.cells) >= _REPEATED * n


def is_target_name(name: str) -> bool:
    """Whether a column is called as what is to be predicted often is.

    Example:
        >>> is_target_name("label"), is_target_name("review")
        (True, False)
    """
    return bool(_LABEL.search(name))
