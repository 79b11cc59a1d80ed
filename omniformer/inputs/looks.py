"""What a raw input looks like: of which modality it is, and whether a string names files."""

from collections.abc import Iterable, Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omniformer_tokenizers import Tokenizer
from PIL import Image
from torch import Tensor

SUFFIXES = {
    "vision": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".mp3", ".ogg"),
    "text": (".txt", ".md"),
    "graph": (".json",),
}
ARRAYS = ".npy"


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


def reads_text(tokenizer: Tokenizer) -> bool:
    """Whether a string is what a tokenizer reads, and not the path of it: texts, and molecules in SMILES."""
    return tokenizer.modality == "text" or tokenizer.reads_strings


def need_text(name: str, raw: str, takes: Mapping[str, Tokenizer]) -> None:
    """Makes sure that somebody reads a string.

    Raises:
        ValueError: nobody does; names the input, and says how to give a file.
    """
    if not any(map(reads_text, takes.values())):
        file = f"pathlib.Path({raw!r})" if _is_path(raw) else "a pathlib.Path"
        raise ValueError(f"{name} looks like text; this model takes {', '.join(sorted(takes))}; give a file as {file}")


def typed(word: str) -> str | Path:
    """What somebody typed on a command line: the path of a file or folder where it looks like one, else a text.

    In Python a string is always a text, and a path is a `Path`.
    """
    return Path(word) if _is_path(word) else word


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


def _is_path(text: str) -> bool:
    """Whether a string names files: it exists, or has a known suffix and no spaces or line breaks, or is a pattern
    without these that matches some.
    """
    if not text or len(text) >= 4096:
        return False
    whole = not any(character.isspace() for character in text)
    known = [ARRAYS, *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)]
    try:
        there = Path(text).exists() or (whole and has_magic(text) and bool(glob(text, recursive=True)))
    except (OSError, ValueError):
        there = False
    return there or (whole and text.lower().endswith(tuple(known)))
