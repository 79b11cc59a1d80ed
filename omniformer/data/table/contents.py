"""From cells to what tokenizers take, by modality."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import Conversation
from torch import Tensor

from omniformer.data.table.places import Places

_Text = str | tuple[str, ...]


def text_of(cell: Any) -> str:
    """A text; a list of words with blanks between them.

    Raises:
        ValueError: neither.
    """
    if isinstance(cell, str):
        return cell
    if isinstance(cell, list) and all(isinstance(word, str) for word in cell):
        return " ".join(cell)
    raise ValueError(f"expected a text, or a list of words, received {shown(cell)}")


def conversation_of(cell: Any, picture: Callable[[Any], Any] | None = None) -> Conversation:
    """A conversation: a list of messages, or an object with `messages` and maybe `tools`; also written as JSON.

    Args:
        cell: as said.
        picture: reads what stands for a picture in a message; they are as they stand there without it.

    Raises:
        ValueError: neither, or a message has no role.

    Example:
        >>> conversation_of('[{"role": "user", "content": "hi"}]').messages
        [{'role': 'user', 'content': 'hi'}]
    """
    cell = _parsed(cell)
    if isinstance(cell, Mapping):
        talk = Conversation(messages=cell.get("messages") or [], tools=_parsed(cell.get("tools")) or None)
    elif isinstance(cell, list):
        talk = Conversation(messages=cell)
    else:
        raise ValueError(f"expected a list of messages, received {shown(cell)}")
    return talk if picture is None else talk.with_pictures(picture)


def joined(texts: Sequence[str], between: str | None) -> _Text:
    """Several texts of a sample: with something between them one, otherwise a pair.

    Raises:
        ValueError: there are more than two, and nothing to stand between them.

    Example:
        >>> joined(["where?", "here"], None), joined(["where?", "here"], " | ")
        (('where?', 'here'), 'where? | here')
    """
    if len(texts) == 1:
        return texts[0]
    if between is not None:
        return between.join(texts)
    if len(texts) > 2:
        raise ValueError(f"{len(texts)} texts; a tokenizer reads one or a pair, give join=' ' to make them one text")
    return tuple(texts)


class Reader:
    """Reads the cells of one modality.

    Args:
        modality: which; texts are not read here.
        places: finds files.
        beside: the folder of the table.
    """

    def __init__(self, modality: str, places: Places, beside: Path | None) -> None:
        self.modality, self.places, self.beside = modality, places, beside

    def read(self, cells: Sequence[Any]) -> Any:
        """The content of the cells that are not empty: one, or for a series several variables.

        Raises:
            ValueError: they cannot be read.
        """
        found = [self.of(cell) for cell in cells]
        if self.modality != "series":
            return found[0]
        if len({part.shape[1] for part in found}) > 1:
            raise ValueError(f"variables of a series differ in length, {[part.shape[1] for part in found]}")
        return torch.cat(found)

    def of(self, cell: Any) -> Any:
        """What the tokenizer takes in the place of one cell."""
        return _READERS[self.modality](self, cell)


def _file(reader: Reader, cell: Any) -> Any:
    """A picture, a sound or a video: the path of a file or its bytes, also as `datasets` nests them."""
    if isinstance(cell, bytes | Tensor):
        return cell
    if isinstance(cell, Mapping):
        if isinstance(content := cell.get("bytes"), bytes):
            return content
        if isinstance(cell.get("path"), str):
            return _file(reader, cell["path"])
        if "array" in cell and "sampling_rate" in cell and reader.modality == "audio":
            return _numbers(cell["array"]), cell["sampling_rate"]
    if isinstance(cell, str):
        return reader.places.find(cell, reader.beside)
    if isinstance(cell, list):
        numbers = _numbers(cell)
        return numbers if reader.modality == "audio" else _pixels(numbers)
    raise ValueError(f"expected a path, the bytes of a file, or numbers, received {shown(cell)}")


def _pixels(numbers: Tensor) -> Tensor:
    """Numbers of pixels, 0 to 255 where they are whole, as a picture or a video."""
    if numbers.ndim < 2:
        raise ValueError(f"expected rows of pixels, received {len(numbers)} numbers in one row")
    whole = bool((numbers == numbers.round()).all())
    if whole and float(numbers.min()) >= 0 and float(numbers.max()) <= 255:
        return numbers.to(torch.uint8)
    return numbers


def _series(reader: Reader, cell: Any) -> Tensor:
    numbers = _numbers(series_in(cell) or cell)
    if numbers.ndim not in (1, 2):
        raise ValueError(f"expected numbers, or one list of them for each variable, received {numbers.ndim} axes")
    return numbers if numbers.ndim == 2 else numbers[None]


def _graph(reader: Reader, cell: Any) -> Any:
    """A molecule in SMILES, for `tokenizer=molecules`; the JSON file of a graph; or a graph as an object."""
    cell = _parsed(cell)
    if isinstance(cell, str):
        return reader.places.find(cell, reader.beside) if cell.lower().endswith(".json") else cell.strip()
    if isinstance(cell, Mapping):
        return {name: value for name, value in cell.items() if value is not None}
    raise ValueError(
        f"expected SMILES, the path of a .json file, or an object with nodes and edges, received {shown(cell)}"
    )


_READERS: dict[str, Callable[[Reader, Any], Any]] = {
    "vision": _file,
    "audio": _file,
    "video": _file,
    "series": _series,
    "graph": _graph,
}


def _parsed(cell: Any) -> Any:
    """What a cell of a table of texts stands for, where it is written as JSON."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{") and cell.rstrip()[-1:] in ("]", "}"):
        try:
            return json.loads(cell)
        except ValueError:
            return cell  # SMILES begin with brackets too
    return cell


def series_in(cell: Any) -> list[Any] | None:
    """The numbers of a cell: a list, one written as JSON, or numbers between blanks, commas, semicolons or bars. None
    where it holds something else.

    Example:
        >>> series_in("0.5 1 nan"), series_in("[[1, 2], [3, 4]]"), series_in("a b"), series_in("0,5 1,5")
        ([0.5, 1.0, nan], [[1, 2], [3, 4]], None, None)
    """
    found = _parsed(cell)
    if isinstance(found, list):
        return found
    for sign in (";", "|", ",", None) if isinstance(found, str) else ():
        if len(parts := found.split(sign)) > 1:
            try:
                return [float(part) for part in parts]
            except ValueError:
                continue
    return None


def _numbers(cell: Any) -> Tensor:
    if not isinstance(cell, list) or not cell:
        raise ValueError(f"expected a list of numbers, received {shown(cell)}")
    try:
        return torch.tensor(_with_gaps(cell), dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected numbers in lists of one length: {error}") from error


def _with_gaps(cell: Any) -> Any:
    return [_with_gaps(each) for each in cell] if isinstance(cell, list) else float("nan") if cell is None else cell


def shown(cell: Any) -> str:
    """A cell for a message, not all of it.

    Example:
        >>> shown("x" * 100)[:10], shown(b"abc")
        ("'xxxxxxxxx", '3 bytes')
    """
    if isinstance(cell, bytes):
        return f"{len(cell)} bytes"
    text = repr(str(cell) if isinstance(cell, Path) else cell)
    return text if len(text) <= 60 else f"{text[:57]}..."
