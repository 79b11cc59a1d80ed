"""An adapter as a small folder of its own, beside the model that it belongs to."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from omniformer.adapters.lora import LoRA, adapters, attach, is_adapted
from omniformer.adapters.places import places
from omniformer.adapters.rights import usual_rights
from omniformer.files.untrusted import refuse_links_out

CONFIG_FILE, WEIGHTS_FILE = "adapter.json", "adapter.safetensors"
_LEARNED = ("rank", "alpha", "dropout", "rank_stabilised")


def save_adapter(model: nn.Module, folder: str | Path) -> None:
    """Writes the updates of an adapted model, and whatever else of it learns (a new head), and nothing of the rest.

    Args:
        model: adapted by `apply_lora` or `load_adapter`.
        folder: made when missing.

    Raises:
        ValueError: the model has no adapter.
    """
    found = adapters(model)
    if not found:
        raise ValueError("this model has no adapter to save; apply or load one first")
    parts = {path: {name: getattr(update.lora, name) for name in _LEARNED} for path, (_, update) in found.items()}
    own = {id(each) for _, update in found.values() for each in update.parameters()}
    tensors = {
        name: parameter.detach().contiguous()
        for name, parameter in model.named_parameters()
        if id(parameter) in own or parameter.requires_grad
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    usual_rights(folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps({"format": 1, "adapters": parts}, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def load_adapter(model: nn.Module, folder: str | Path) -> tuple[str, ...]:
    """Adapts a model as a folder of `save_adapter` says; what the folder holds learns on, the rest stays as it is.

    Args:
        model: the model that was adapted, without adapter; changed in place.
        folder: holds `adapter.json` and `adapter.safetensors`.

    Returns:
        The paths of what is adapted.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged, the model is adapted already, or the adapter belongs to another model; names
            what does not fit. The model is then as it was.
    """
    folder = Path(folder)
    described, tensors = _read(folder)
    if is_adapted(model):
        raise ValueError("this model has an adapter already; merge and remove it before another")
    known = places(model)
    if strange := [path for path in described if path not in known]:
        raise ValueError(f"{folder} adapts {strange[0]}, which this model does not have: it belongs to another model")
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for path, lora in described.items():
        place, linear = known[path], model.get_submodule(known[path].linear)
        prefix = f"{place.linear}.lora.{place.name}"
        shapes[f"{prefix}.a"] = torch.Size([lora.rank, linear.in_features])  # pyright: ignore[reportArgumentType]
        shapes[f"{prefix}.b"] = torch.Size([place.last - place.first, lora.rank])
        if f"{prefix}.a" not in tensors or f"{prefix}.b" not in tensors:
            raise ValueError(f"{folder / WEIGHTS_FILE} lacks {prefix}.a or .b, which {CONFIG_FILE} names")
    for name, tensor in tensors.items():
        if name not in shapes:
            raise ValueError(f"{folder} holds {name}, which this model does not have: it belongs to another model")
        if shapes[name] != tensor.shape:
            raise ValueError(f"{folder}: {name} is {list(tensor.shape)}, this model needs {list(shapes[name])}")
    model.requires_grad_(False)
    for path, lora in described.items():
        attach(model, known[path], lora)
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        parameters[name].copy_(tensor)
        parameters[name].requires_grad_(True)
    return tuple(described)


def _read(folder: Path) -> tuple[dict[str, LoRA], dict[str, Tensor]]:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no adapter: looked for {CONFIG_FILE} and {WEIGHTS_FILE}")
    refuse_links_out(folder, deep=False)
    path = folder / CONFIG_FILE
    try:
        parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["adapters"]
        described = {place: LoRA(**{name: part[name] for name in _LEARNED}) for place, part in parts.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    try:
        return described, load_file(folder / WEIGHTS_FILE)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} is damaged or cut off: {error}") from error
