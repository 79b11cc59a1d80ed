"""What people hand to a trained model, files and raw objects of any modality, as samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.batch import Sample
from omniformer.model import OmniFormer

SUFFIXES = {
    "vision": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".mp3", ".ogg"),
    "text": (".txt", ".md"),
    "graph": (".json",),
}
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
    """One raw content as tokens of a modality; a text may also be a file.

    Raises:
        ValueError: the tokenizer refuses it; names the input.
    """
    if tokenizer.modality == "text" and isinstance(content, Path):
        content = content.read_text(encoding="utf-8")
    try:
        return replace(tokenizer(content), modality=modality)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error


def need_room(samples: Sequence[Sample], model: OmniFormer) -> None:
    """Makes sure that a model has a position for every token.

    Raises:
        ValueError: a text is longer than the table of positions; names it.
    """
    room = {modality: getattr(embedder, "max_tokens", None) for modality, embedder in model.embedders.items()}
    for sample in samples:
        for piece in sample.pieces:
            longest = room.get(piece.modality)
            if longest is not None and len(piece) > longest:
                raise ValueError(
                    f"{sample.id} has {len(piece)} tokens of {piece.modality}, this model has positions for {longest}; "
                    "give less of it"
                )


def modality_of(raw: Any) -> str | None:
    """The modality of a raw input, from a file's suffix or the type of the object; None when neither tells."""
    if isinstance(raw, Path):
        return next((modality for modality, suffixes in SUFFIXES.items() if raw.suffix.lower() in suffixes), None)
    if isinstance(raw, str):
        return "text"
    if isinstance(raw, Tensor):
        return "audio" if raw.ndim == 1 or (raw.ndim == 2 and raw.shape[0] <= 2) else "vision"
    if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], Tensor):
        return "audio"
    if isinstance(raw, tuple) and raw and all(isinstance(each, str) for each in raw):
        return "text"  # a pair of texts, such as a question and what it is about
    if isinstance(raw, Mapping) or hasattr(raw, "edge_index") or hasattr(raw, "adjacency"):
        return "graph"
    return "vision" if hasattr(raw, "convert") and hasattr(raw, "size") else None


def expand(given: Any, i: int) -> Iterator[tuple[str, Any]]:
    """An input with its name; a string that names a file is that file, and a folder is the files in it."""
    if isinstance(given, list):
        given = [file_of(each) for each in given]
    if isinstance(given, str) and _is_path(given):
        given = Path(given)
    if not isinstance(given, Path):
        yield f"input {i}", given
    elif given.is_dir():
        files = sorted(path for path in given.rglob("*") if path.is_file() and modality_of(path) is not None)
        if not files:
            raise ValueError(f"{given} holds no file that a model could read; known suffixes: {SUFFIXES}")
        yield from ((str(path), path) for path in files)
    else:
        yield str(given), _found(given)


def file_of(raw: Any) -> Any:
    """A string that names a file as that file; everything else as it is."""
    return _found(Path(raw)) if isinstance(raw, str) and _is_path(raw) else raw


def _found(path: Path) -> Path:
    """A path that leads to a file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    return path


def _is_path(text: str) -> bool:
    """Whether a string names a file: it exists, or has a known suffix and no spaces or line breaks."""
    known = any(text.lower().endswith(suffix) for suffixes in SUFFIXES.values() for suffix in suffixes)
    if known and not any(character.isspace() for character in text):
        return True
    try:
        return len(text) < 4096 and Path(text).exists() and bool(text)
    except (OSError, ValueError):
        return False


def _key(name: str, raw: Any, takes: Mapping[str, Tokenizer]) -> str:
    """Which of a task's modalities a raw input is."""
    looks = modality_of(raw)
    likely = [looks, *_SAME.get(looks or "", ())]
    for fitting in (takes.keys() & likely, {key for key, each in takes.items() if each.modality in likely}, takes):
        if len(fitting) == 1:
            return str(next(iter(fitting)))
    choice = ", ".join(f"{{{key!r}: ...}}" for key in takes)
    raise ValueError(f"{name} looks like {looks or 'no known modality'}; say which it is, one of {choice}")
