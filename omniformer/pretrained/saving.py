"""Models of ours, written as the reference library reads them."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from omniformer.adapters.lora import refuse_adapted
from omniformer.adapters.rights import usual_rights
from omniformer.model import OmniFormer
from omniformer.pretrained.family import Family, family_of
from omniformer.pretrained.files.checkpoint import CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, usual_dtype
from omniformer.pretrained.names import assemble, brief, lines_of, parameters_of
from omniformer.quantization import refuse_quantized
from omniformer.recipe import build_model


def save_pretrained(
    model: OmniFormer, folder: str | Path, config: Mapping[str, Any], *, max_shard_size: int = 5 << 30
) -> None:
    """Writes a model of ours as the reference library reads it.

    Args:
        model: loaded from a published file and trained on, or trained here in the shape of one.
        folder: made when missing.
        config: the content of the `config.json` that describes it; `architectures` says which head it has.
        max_shard_size: larger models are written in several files with an index, in bytes.

    Raises:
        ValueError: the configuration describes another model, the model has an adapter, or its weights are quantized.
    """
    refuse_adapted(model)
    refuse_quantized(model)
    folder = Path(folder)
    family = family_of(config)
    lines, _ = lines_of(family.names(), model, family.architecture)
    parameters = parameters_of(model)
    names = [line for each in lines.values() for line in each]
    _same_shapes(parameters, family)
    shard = max_shard_size if family.weights_file == WEIGHTS_FILE else sys.maxsize  # others are one file always
    _write(folder, assemble(names, parameters.__getitem__), shard, family.weights_file)
    # A key that is null where nobody says otherwise needs no word; some classes of the reference stumble over it.
    unsaid = {key for key, value in family.defaults.items() if value is None and family.config[key] is None}
    written = {key: value for key, value in family.config.items() if key not in unsaid}
    written = _typed(written, usual_dtype((each.dtype, each.numel()) for each in parameters.values()))
    written["architectures"] = [family.architecture]
    (folder / family.config_file).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _typed(config: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """A configuration that says the type of these weights wherever it says one: the reference reads into that type."""
    said = str(dtype).removeprefix("torch.")
    return {
        key: _typed(value, dtype) if isinstance(value, Mapping) else said if key in ("dtype", "torch_dtype") else value
        for key, value in config.items()
    }


def _same_shapes(parameters: Mapping[str, Tensor], family: Family) -> None:
    """Compares a model with the one that the configuration describes.

    Raises:
        ValueError: a weight has another shape.
    """
    with torch.device("meta"):
        described = parameters_of(build_model(family.recipe))
    wrong = [
        f"{name} is {list(tensor.shape)}, {CONFIG_FILE} says {list(described[name].shape)}"
        for name, tensor in parameters.items()
        if name in described and described[name].shape != tensor.shape
    ]
    if wrong:
        raise ValueError(f"this model is no {family.architecture} of this {CONFIG_FILE}: {brief(wrong)}")


def _write(folder: Path, tensors: Iterable[tuple[str, Tensor]], max_shard_size: int, single: str) -> None:
    """One file, or several with an index. Files that are there are replaced once the new ones are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
        written: list[tuple[Path, list[str]]] = []
        total = 0
        for shard in _shards(tensors, max_shard_size):
            path = Path(scratch) / f"{len(written)}.safetensors"
            save_file(shard, path, metadata={"format": "pt"})
            usual_rights(path)
            written.append((path, list(shard)))
            total += sum(tensor.nbytes for tensor in shard.values())
        for old in folder.glob("model*.safetensors*"):
            old.unlink()
        if len(written) == 1:
            written[0][0].replace(folder / single)
            return
        where: dict[str, str] = {}
        for i, (path, names) in enumerate(written, start=1):
            file = f"model-{i:05d}-of-{len(written):05d}.safetensors"
            path.replace(folder / file)
            where |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(tensors: Iterable[tuple[str, Tensor]], max_shard_size: int) -> Iterator[dict[str, Tensor]]:
    """The tensors in groups of at most so many bytes, or of one tensor."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > max_shard_size:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard
