"""What people hand to a trained model, files and raw objects of any modality, as samples."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from omniformer_tokenizers import Tokenizer, Tokens
from omniformer_tokenizers.files import files_below, read_text
from PIL import Image
from torch import Tensor

from omniformer.batch import Batch, Sample, collate
from omniformer.fitting import refuse_long
from omniformer.model import OmniFormer

log = logging.getLogger(__name__)
Named = Sequence[tuple[str, Any]]
Refused = Callable[[Exception], None]
Kind = TypeVar("Kind")
Result = TypeVar("Result")
SUFFIXES = {
    "vision": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".mp3", ".ogg"),
    "text": (".txt", ".md"),
    "graph": (".json",),
}
_ARRAYS = ".npy"
_MOST: ContextVar[int | None] = ContextVar("most", default=None)
# What looks like one modality may be wanted as another: pictures as pixels.
_SAME = {"vision": ("pixels", "video"), "audio": ("samples", "series")}


def sample_of(name: str, raw: Any, tokenizers: Mapping[str, Tokenizer]) -> Sample:
    """A raw input as tokens.

    Args:
        name: names it in messages, and keys its randomness.
        raw: one input; several of different modalities as a list, or as a mapping by modality.
        tokenizers: by modality; an input of one modality goes to the one that it looks made for.

    Raises:
        ValueError: no tokenizer takes it, it is not clear which one does, or a file cannot be read; names the input.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> sample_of("greeting", "hi", {"text": ByteTokenizer()}).pieces[0].values.tolist()
        [104, 105]
    """
    if isinstance(raw, list):
        contents = {_key(name, each, tokenizers): each for each in raw}
        if len(contents) < len(raw):
            raise ValueError(f"{name} has {len(raw)} parts, but only {', '.join(contents)}; give one of each modality")
    elif isinstance(raw, Mapping) and set(raw) <= set(tokenizers):
        contents = dict(raw)
    else:
        contents = {_key(name, raw, tokenizers): raw}
    # In the order of the tokenizers, whatever the order in which people name things.
    present = [key for key in tokenizers if key in contents]
    return Sample(id=name, pieces=[tokens_of(name, key, contents[key], tokenizers[key]) for key in present])


def tokens_of(name: str, modality: str, content: Any, tokenizer: Tokenizer) -> Tokens:
    """One raw content as tokens of a modality; a text may also be a file, a picture or a sound a numpy array.

    Raises:
        FileNotFoundError: it is the path of no file.
        ValueError: the tokenizer refuses it; names the input.
    """
    if isinstance(content, Path):
        content = read_text(_found(content)) if reads_text(tokenizer) else _found(content)
    elif isinstance(content, np.ndarray):
        content = of_array(content)
    try:
        tokens = replace(tokenizer(content), modality=modality)
    except (ValueError, TypeError) as error:
        told = str(error)
        raise ValueError(told if name in told else f"{name}: {told}") from error
    if (most := _MOST.get()) is not None and len(tokens) > most:
        raise ValueError(f"{name} has {len(tokens)} tokens of {modality}; at most {most} are read here, give less")
    if "left_out" in tokens.facts and (seconds := float(tokens.facts["left_out"])) > 0:
        log.warning("%s: its last %.1f s are left out, since this model reads no longer sounds", name, seconds)
    return tokens


@contextmanager
def at_most(tokens: int) -> Iterator[None]:
    """Refuses, while the context lasts, each content with more tokens: for inputs of strangers, whom a model that reads
    texts and pictures of any length would let fill the memory.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> with at_most(3):
        ...     sample_of("greeting", "hello", {"text": ByteTokenizer()})
        Traceback (most recent call last):
        ValueError: greeting has 5 tokens of text; at most 3 are read here, give less
    """
    before = _MOST.set(tokens)
    try:
        yield
    finally:
        _MOST.reset(before)


def text_of(name: str, raw: Any) -> str:
    """A text, or that of a file.

    Raises:
        FileNotFoundError: it is the path of no file.
        ValueError: it is no text; names the input.
    """
    if isinstance(raw, Path):
        return read_text(_found(raw))
    if not isinstance(raw, str):
        raise ValueError(f"{name} is a {type(raw).__name__}; this model reads texts: give a string or a file")
    return raw


def of_array(array: np.ndarray) -> Any:
    """A numpy array as tokenizers take it: a picture `[height, width, channels]` of bytes as a Pillow image, which is
    read as its file would be; anything else as a tensor.

    An array `[channels, height, width]` of 1, 3 or 4 channels stays as it is, unless its last axis is of that size too.

    Example:
        >>> of_array(np.zeros((4, 6, 3), dtype=np.uint8)).size, of_array(np.zeros((4, 6, 3), dtype=np.float32)).shape
        ((6, 4), torch.Size([3, 4, 6]))
    """
    if array.ndim == 3 and array.shape[2] in (1, 3, 4):
        if array.dtype == np.uint8:
            return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))
        array = array.transpose(2, 0, 1)
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def reads_text(tokenizer: Tokenizer) -> bool:
    """Whether a string is what a tokenizer reads, and not the path of it: texts, and molecules in SMILES."""
    return tokenizer.modality == "text" or tokenizer.reads_strings


def listed(inputs: Any) -> list[Any]:
    """Inputs as a list: one string, path, picture, sound or graph by itself is a list of one.

    Of a tensor or an array with four axes or more, the first one counts the inputs.

    Example:
        >>> listed("a fine film"), listed(["a", "b"]), len(listed(torch.zeros(3, 8, 8)))
        (['a fine film'], ['a', 'b'], 1)
    """
    if isinstance(inputs, Tensor | np.ndarray):
        return list(inputs) if inputs.ndim > 3 else [inputs]
    if isinstance(inputs, str | Path | bytes):
        return [inputs]
    pair = isinstance(inputs, tuple) and bool(inputs) and isinstance(inputs[0], str)
    return [inputs] if modality_of(inputs) is not None and not pair else list(inputs)


def batch_of(samples: Sequence[Sample], model: OmniFormer) -> Batch:
    """Samples as a batch, where the model is; see `omniformer.fitting.fitted` for texts that are too long.

    Raises:
        ValueError: a text has more tokens than the model has positions; names it.
    """
    refuse_long(samples, model)
    return collate(samples).to(next(model.parameters()).device)


def by_kind(kinds: Sequence[Kind], batch_size: int) -> Iterator[tuple[Kind, list[int]]]:
    """Places in batches, each of one kind.

    Example:
        >>> list(by_kind(["text", "vision", "text"], 8))
        [('text', [0, 2]), ('vision', [1])]
    """
    for kind in dict.fromkeys(kinds):
        mine = [i for i, each in enumerate(kinds) if each == kind]
        yield from ((kind, mine[start : start + batch_size]) for start in range(0, len(mine), batch_size))


def modality_of(raw: Any) -> str | None:
    """The modality of a raw input, from a file's suffix or the type of the object; None when neither tells."""
    if isinstance(raw, Path):
        return next((modality for modality, suffixes in SUFFIXES.items() if raw.suffix.lower() in suffixes), None)
    if isinstance(raw, str):
        return "text"
    if isinstance(raw, np.ndarray):
        raw = of_array(raw)
    if isinstance(raw, Tensor):
        return "audio" if raw.ndim == 1 or (raw.ndim == 2 and raw.shape[0] <= 2) else "vision"
    if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], Tensor):
        return "audio"
    if isinstance(raw, tuple) and raw and all(isinstance(each, str) for each in raw):
        return "text"  # a pair of texts, such as a question and what it is about
    if isinstance(raw, Mapping) or hasattr(raw, "edge_index") or hasattr(raw, "adjacency"):
        return "graph"
    return "vision" if hasattr(raw, "convert") and hasattr(raw, "size") else None


def looks_like(raw: Any, tokenizers: Iterable[Tokenizer]) -> str | None:
    """`modality_of`, where files of a suffix that one of the tokenizers names are of its modality.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> looks_like(Path("a.png"), [ByteTokenizer()]), looks_like(Path("a.xyz"), [ByteTokenizer()])
        ('vision', None)
    """
    if isinstance(raw, Path):
        own = (each.modality for each in tokenizers if raw.suffix.lower() in each.suffixes)
        return next(own, modality_of(raw))
    return modality_of(raw)


def expand(given: Any, i: int, suffixes: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """An input with its name; the path of a folder is the files in it that have a known suffix, that of a pattern
    (`scans/*.png`) the files that it matches, and that of a file of numpy, `.npy`, what the array holds.

    Args:
        given: one of the inputs.
        i: its number among them.
        suffixes: of files that the model reads beside those that everybody knows, such as `.acc`.
    """
    if not isinstance(given, Path):
        yield f"input {i}", given
    elif given.is_dir():
        yield from _below(given, suffixes)
    elif given.suffix.lower() == _ARRAYS:
        rows = listed(_array(_found(given)))
        yield from ((str(given) if len(rows) == 1 else f"{given}[{row}]", each) for row, each in enumerate(rows))
    elif has_magic(str(given)) and not given.is_file():
        found = sorted(path for path in map(Path, glob(str(given), recursive=True)) if path.is_file())
        if not found:
            raise FileNotFoundError(f"no file matches {str(given)!r}")
        yield from ((str(path), path) for path in found)
    else:
        yield str(given), _found(given)


def _below(folder: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files of a folder that have a known suffix; of what kinds others are, and how many, is said."""
    paths = [folder / name for name in files_below(folder)]
    known = {path: modality_of(path) is not None or path.suffix.lower() in suffixes for path in paths}
    files = [path for path in paths if known[path]]
    if not files:
        shown = ", ".join([*(each for every in SUFFIXES.values() for each in every), *suffixes])
        raise ValueError(f"{folder} holds no file that a model could read; known suffixes: {shown}")
    if others := Counter(path.suffix.lower() or path.name for path in paths if not known[path]):
        kinds = ", ".join(f"{n} {kind}" for kind, n in others.most_common(8))
        log.warning("%s: %s files of other kinds are passed over: %s", folder, sum(others.values()), kinds)
    yield from ((str(path), path) for path in files)


def _array(path: Path) -> np.ndarray:
    """The array of a file, of which only what is used comes into memory.

    Raises:
        ValueError: it is none, or one of Python objects, which could run code; names the file.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an array of numbers: {error}") from error


def named_inputs(inputs: Any, refused: Refused | None = None, suffixes: Sequence[str] = ()) -> list[tuple[str, Any]]:
    """Inputs with their names, folders as the files in them.

    Args:
        inputs: as for `listed`.
        refused: called with the error of what is not there; None raises it.
        suffixes: as for `expand`.
    """
    named: list[tuple[str, Any]] = []
    for i, given in enumerate(listed(inputs)):
        try:
            named += expand(given, i, suffixes)
        except (ValueError, OSError) as error:
            if refused is None:
                raise
            refused(error)
    return named


def of_each(use: Callable[[Named], list[Result]], named: Named) -> list[Result | Exception]:
    """What is made of each input, or why it cannot be read: where one of them cannot, each half is tried by itself.

    Args:
        use: from inputs to what is made of each of them; raises for one that cannot be read.
        named: inputs with their names.

    Example:
        >>> of_each(lambda named: [len(raw) for _, raw in named], [("a", "abc"), ("b", "de")])
        [3, 2]
    """
    try:
        return list(use(named))
    except (ValueError, OSError) as error:
        if len(named) == 1:
            return [error.with_traceback(None)]  # which would keep all that was read in memory
        half = len(named) // 2
        return [each for part in (named[:half], named[half:]) for each in of_each(use, part)]


def typed(word: str) -> str | Path:
    """What somebody typed on a command line: the path of a file or folder where it looks like one, else a text.

    In Python a string is always a text, and a path is a `Path`.
    """
    return Path(word) if _is_path(word) else word


def need_text(name: str, raw: str, takes: Mapping[str, Tokenizer]) -> None:
    """Makes sure that somebody reads a string.

    Raises:
        ValueError: nobody does; names the input, and says how to give a file.
    """
    if not any(map(reads_text, takes.values())):
        file = f"pathlib.Path({raw!r})" if _is_path(raw) else "a pathlib.Path"
        raise ValueError(f"{name} looks like text; this model takes {', '.join(sorted(takes))}; give a file as {file}")


def _found(path: Path) -> Path:
    """A path that leads to a file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    return path


def _is_path(text: str) -> bool:
    """Whether a string names files: it exists, or has a known suffix and no spaces or line breaks, or is a pattern
    without these that matches some.
    """
    if not text or len(text) >= 4096:
        return False
    whole = not any(character.isspace() for character in text)
    known = [_ARRAYS, *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)]
    try:
        there = Path(text).exists() or (whole and has_magic(text) and bool(glob(text, recursive=True)))
    except (OSError, ValueError):
        there = False
    return there or (whole and text.lower().endswith(tuple(known)))


def _key(name: str, raw: Any, takes: Mapping[str, Tokenizer]) -> str:
    """Which of a task's modalities a raw input is."""
    looks = looks_like(raw, takes.values())
    if isinstance(raw, str):
        need_text(name, raw, takes)
        fitting = [key for key, each in takes.items() if reads_text(each)]
        if len(fitting) == 1:
            return fitting[0]
    likely = [looks, *_SAME.get(looks or "", ())]
    for fitting in (takes.keys() & likely, {key for key, each in takes.items() if each.modality in likely}, takes):
        if len(fitting) == 1:
            return str(next(iter(fitting)))
    choice = ", ".join(f"{{{key!r}: ...}}" for key in takes)
    raise ValueError(f"{name} looks like {looks or 'no known modality'}; say which it is, one of {choice}")
