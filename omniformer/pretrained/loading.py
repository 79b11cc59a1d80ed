"""Published models in, ordinary models out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from torch.utils._python_dispatch import TorchDispatchMode

from omniformer.files.untrusted import refuse_layers_without_weights, refuse_links_out, told_of
from omniformer.model import OmniFormer
from omniformer.predictor import Member
from omniformer.pretrained.family import Family, family_of
from omniformer.pretrained.files import hub
from omniformer.pretrained.files.checkpoint import CONFIG_FILE, Checkpoint, config_path, read_json
from omniformer.pretrained.files.companions import MODULES_FILE, read_companions
from omniformer.pretrained.files.processors import at_size
from omniformer.pretrained.filling import fill
from omniformer.pretrained.gguf import as_folder, gguf_file
from omniformer.pretrained.pretrained import Pretrained
from omniformer.pretrained.sentences import with_sentences
from omniformer.quantization import Weights, quantize
from omniformer.recipe import Node, build_model


def load(
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    weights: Weights | None = None,
    image_size: tuple[int, int] | None = None,
    revision: str | None = None,
) -> Pretrained:
    """Reads a published model from a folder in the usual layout: `config.json`, weights, tokenizer files.

    At most one tensor of the file is in memory beside the model.

    Args:
        folder: holds `config.json`, `model.safetensors` (or shards with their index, or `pytorch_model.bin`), and the
            files of the tokenizer; or the one of its weight files that is meant. Or a GGUF file of a LLaMA,
            Qwen2 or Qwen3, or the folder that holds one and no `config.json`. Where there is none of them, the name of
            a model on the hub, `owner/model`, is fetched, which needs the optional library huggingface-hub; see
            `omniformer.pretrained.files.hub` for what is trusted.
        dtype: of the weights; that of the file by default.
        weights: rounded to "bf16", "int8" or "int4" once they are read; see `omniformer.quantization.quantize`.
        image_size: height and width to which a model of pictures is changed: its positions are stretched
            ([Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929), 3.2), its tokenizer brings pictures to that
            size.
        revision: of a model on the hub: a branch, a tag or the hash of a commit.

    A folder of the library sentence-transformers (`modules.json`) becomes a model whose `embed` makes its vectors.

    Raises:
        FileNotFoundError: a file is not there, or a model cannot be fetched.
        ValueError: the family is not known, a file is damaged, configuration and tensors disagree, or the model reads
            no pictures of that size; names the file and what is wrong. Nothing is returned half loaded.

    Example:
        >>> model = load("gpt2")  # doctest: +SKIP
        >>> model.generate(["Once upon a time"])[0][0].content  # doctest: +SKIP
        ' there was a man named John.'
    """
    source = hub.local(folder, revision)
    sizes = {"dtype": dtype, "weights": weights, "image_size": image_size}
    if (file := gguf_file(source)) is not None:
        with told_of(file), as_folder(file) as (place, checkpoint):
            return _read(place, lambda family: checkpoint, **sizes)
    place = source.parent if source.is_file() else source
    refuse_links_out(place, deep=False)
    path = config_path(place)
    if not path.is_file():
        raise FileNotFoundError(f"{place} holds no {CONFIG_FILE}, so that nobody can say what its weights are")
    with told_of(path):
        loaded = _read(place, lambda family: family.checkpoint(place if source == path else source), **sizes)
    if not (place / MODULES_FILE).is_file():
        return loaded
    with told_of(place / MODULES_FILE):
        return with_sentences(loaded, place)


def _read(
    folder: Path,
    tensors: Callable[[Family], Checkpoint],
    *,
    dtype: torch.dtype | None,
    weights: Weights | None,
    image_size: tuple[int, int] | None,
) -> Pretrained:
    """The model that the small files of a folder describe, with the tensors that belong to it."""
    path = config_path(folder)
    family = family_of(read_json(path), str(path))
    checkpoint = tensors(family)
    family = family.holding(checkpoint.where)
    recipe = _recipe(family, path)
    refuse_layers_without_weights(recipe, len(checkpoint.where), path)
    model = _empty(recipe, dtype or checkpoint.dtype)
    report = fill(model, family, checkpoint)
    if image_size is not None:
        family = family.at_size(model, image_size)
    if weights is not None:
        quantize(model, weights)
    tokenizers, files = family.tokenizers(folder), read_companions(folder)
    if image_size is not None:
        pictures: Any = tokenizers.get("vision")
        files = files if pictures is None else at_size(files, getattr(pictures, "tokenizer", pictures).resize)
    return _loaded(model, family, tokenizers, folder, report=report, files=files)


def _loaded(
    model: OmniFormer, family: Family, tokenizers: dict[str, Tokenizer], folder: Path, **rest: Any
) -> Pretrained:
    if family.head is None:
        return Pretrained(model, {}, tokenizers=tokenizers, family=family, **rest)
    return Pretrained(model, {family.head: _member(family, tokenizers, folder)}, family=family, **rest)


def _recipe(family: Family, path: Path) -> Node:
    try:
        return family.recipe
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _empty(recipe: Node, dtype: torch.dtype) -> OmniFormer:
    """The model of a recipe whose weights have no values yet, and no memory before they get some."""
    with _Undrawn():
        model = build_model(recipe)
    return model.to(dtype)


class _Undrawn(TorchDispatchMode):
    """Leaves out the random draws of fresh weights, which are about to be overwritten."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default):
            return args[0]
        return func(*args, **(kwargs or {}))


def _member(family: Family, tokenizers: dict[str, Tokenizer], folder: Path) -> Member:
    return Member(
        tokenizers=tokenizers,
        labels=family.labels,
        max_seq_len=family.max_seq_len,
        given=tuple(family.given),
        allowed=family.allowed(folder),
        speech=family.speech(folder),
    )
