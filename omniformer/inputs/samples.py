"""Raw inputs of any modality as samples."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from omniformer_tokenizers import Tokenizer, Tokens
from omniformer_tokenizers.files import read_text

from omniformer.batch import Batch, Sample, collate
from omniformer.inputs.fitting import refuse_long
from omniformer.inputs.looks import looks_like, need_text, of_array, reads_text
from omniformer.inputs.named import found
from omniformer.model import OmniFormer

log = logging.getLogger(__name__)
Kind = TypeVar("Kind")
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
        content = read_text(found(content)) if reads_text(tokenizer) else found(content)
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


def text_of(name: str, raw: Any) -> str:
    """A text, or that of a file.

    Raises:
        FileNotFoundError: it is the path of no file.
        ValueError: it is no text; names the input.
    """
    if isinstance(raw, Path):
        return read_text(found(raw))
    if not isinstance(raw, str):
        raise ValueError(f"{name} is a {type(raw).__name__}; this model reads texts: give a string or a file")
    return raw


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


def batch_of(samples: Sequence[Sample], model: OmniFormer) -> Batch:
    """Samples as a batch, where the model is; see `omniformer.inputs.fitting.fitted` for texts that are too long.

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
