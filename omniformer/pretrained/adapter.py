"""Adapters of published models in the format of the PEFT library."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from omniformer.adapters.lora import LoRA, Update, adapters, attach, is_adapted
from omniformer.adapters.places import WHOLE, Place, places
from omniformer.adapters.rights import usual_rights
from omniformer.files.untrusted import refuse_links_out, told_of
from omniformer.pretrained.family import Family
from omniformer.pretrained.files.checkpoint import read_json
from omniformer.pretrained.names import Name
from omniformer.pretrained.pretrained import Pretrained

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
# Keys that do not change what the files compute, or that are read here. Any other that is set is refused: a new way of
# PEFT's to adapt would otherwise be left out silently.
_KNOWN = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
}
# Ways to begin that leave the model's own weights as they are; others change them, so that the files alone do not tell.
_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")


def save_adapter(model: Pretrained, folder: str | Path, *, base: str | None = None) -> None:
    """Writes the adapter of a published model so that PEFT reads it beside the reference library's model.

    Where we keep as one matrix what the reference has as several, or the other way round, ranks are put side by side
    or shared: the product is the same.

    Args:
        model: adapted by `omniformer.adapters.apply_lora(model.model, ...)`.
        folder: made when missing.
        base: what the file calls the model it belongs to; PEFT asks for it where it loads both at once.

    Raises:
        ValueError: there is no adapter, or the reference has no linear map for a part of it.
    """
    found = adapters(model.model)
    if not found:
        raise ValueError("this model has no adapter to save; apply or load one first")
    lines = _by_map(model.family)
    thin: dict[str, tuple[Tensor, Tensor, LoRA, bool]] = {}
    for linear in dict.fromkeys(place.linear for place, _ in found.values()):
        mine = [(place, update) for place, update in found.values() if place.linear == linear]
        for line in _lines(lines, linear, model.family):
            if joined := _joined(mine, line, model.model.get_submodule(linear)):
                thin[_theirs(line, model.family)] = (*joined, line.transposed)
    tensors: dict[str, Tensor] = {}
    for module, (a, b, _, _) in thin.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = a.contiguous()
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = b.contiguous()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    usual_rights(folder / WEIGHTS_FILE)
    described = _config(thin, base)
    (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@torch.no_grad()
def load_adapter(model: Pretrained, folder: str | Path) -> tuple[str, ...]:
    """Adapts a published model with an adapter that PEFT, or `save_adapter`, has written.

    Args:
        model: loaded, without adapter; changed in place. The adapter learns on, the rest stays as it is.
        folder: holds `adapter_config.json` and `adapter_model.safetensors`.

    Returns:
        The paths of what is adapted.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: it is no LoRA, or one with an option that we do not have; a file is damaged; or it belongs to
            another model. Names what does not fit. The model is then as it was.
    """
    folder = Path(folder)
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise FileNotFoundError(f"{folder} holds no adapter: looked for {CONFIG_FILE} and {WEIGHTS_FILE}")
    refuse_links_out(folder, deep=False)
    config = read_json(folder / CONFIG_FILE)
    _check(config, folder / CONFIG_FILE)
    if is_adapted(model.model):
        raise ValueError("this model has an adapter already; merge and remove it before another")
    pairs = _pairs(folder / WEIGHTS_FILE)
    lines = {_theirs(line, model.family): line for each in _by_map(model.family).values() for line in each}
    by_rows = _by_rows(model.model)
    planned: list[tuple[Place, LoRA, Tensor, Tensor]] = []
    for module, (a, b) in pairs.items():
        line = lines.get(module)
        if line is None:
            raise ValueError(f"{folder} adapts {module}, which {model.family.architecture} does not have")
        place = _place(line, by_rows, folder)
        linear: Any = model.model.get_submodule(place.linear)
        needed = [len(a), linear.in_features], [place.last - place.first, len(a)]
        if [list(a.shape), list(b.shape)] != list(needed):
            raise ValueError(
                f"{folder}: {module} has A {list(a.shape)} and B {list(b.shape)}, this model needs {needed[0]} and "
                f"{needed[1]}"
            )
        with told_of(folder / CONFIG_FILE):
            planned.append((place, _lora(config, module, len(a)), a, b))
    model.model.requires_grad_(False)
    for place, lora, a, b in planned:
        update = attach(model.model, place, lora)
        update.a.copy_(a)
        update.b.copy_(b)
    return tuple(place.path for place, *_ in planned)


def _by_map(family: Family) -> dict[str, list[Name]]:
    """The lines of the table of names that are weights, by our map."""
    found: dict[str, list[Name]] = {}
    for line in family.names():
        if line.ours.endswith(".weight") and line.theirs.endswith(".weight"):
            found.setdefault(line.ours.removesuffix(".weight"), []).append(line)
    return found


def _lines(lines: Mapping[str, list[Name]], linear: str, family: Family) -> list[Name]:
    """The lines of one map."""
    mine = lines.get(linear, [])
    if not mine:
        raise ValueError(f"{linear} is no part of {family.architecture}; save it with omniformer.adapters.save_adapter")
    for line in mine:
        if not _is_a_map(line):
            raise ValueError(f"{linear}: {family.architecture} keeps it in another form than PEFT can adapt")
    return mine


def _is_a_map(line: Name) -> bool:
    """Whether theirs is a linear map of its own whose rows are ours."""
    return line.index is None and line.their_rows is None and line.shape is None and line.order is None


def _theirs(line: Name, family: Family) -> str:
    """The reference's name of a map, inside the class that the family names: one without head has no prefix."""
    module = family.in_memory(line.theirs.removesuffix(".weight"))
    below_head = family.architecture.endswith("Model") and "LMHead" not in family.architecture
    return module.removeprefix(family.prefix) if below_head else module


def _joined(mine: Iterable[tuple[Place, Update]], line: Name, linear: nn.Module) -> tuple[Tensor, Tensor, LoRA] | None:
    """A and B of one of their maps: our updates that reach its rows, side by side."""
    assert isinstance(linear, nn.Linear)
    first, last = line.rows or (0, linear.out_features)
    reaching = [(place, update) for place, update in mine if place.first < last and first < place.last]
    if not reaching:
        return None
    a = torch.cat([update.a.detach() for _, update in reaching])
    b = a.new_zeros(last - first, len(a))
    column = 0
    for place, update in reaching:
        low, high = max(place.first, first), min(place.last, last)
        rows = update.b.detach()[low - place.first : high - place.first]
        b[low - first : high - first, column : column + rows.shape[1]] = rows
        column += rows.shape[1]
    lora = reaching[0][1].lora
    scales = {update.lora.scale for _, update in reaching}
    if len(scales) > 1:
        raise ValueError(f"{line.ours}: its updates have scales {sorted(scales)}; PEFT has one for each map")
    # The same scale at the rank of all of them together.
    alpha = lora.scale * (len(a) ** 0.5 if lora.rank_stabilised else len(a))
    joined = LoRA(rank=len(a), alpha=alpha, dropout=lora.dropout, rank_stabilised=lora.rank_stabilised)
    return a, b, joined


def _config(thin: Mapping[str, tuple[Tensor, Tensor, LoRA, bool]], base: str | None) -> dict[str, Any]:
    """What PEFT wants to know of the adapter."""
    loras = {module: lora for module, (_, _, lora, _) in thin.items()}
    usual = next(iter(loras.values()))
    for name in ("dropout", "rank_stabilised"):
        if len({getattr(lora, name) for lora in loras.values()}) > 1:
            raise ValueError(f"updates of this adapter differ in {name}; PEFT has one for all")
    kinds = {transposed for *_, transposed in thin.values()}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "bias": "none",
        "fan_in_fan_out": kinds == {True},
        "init_lora_weights": True,
        "r": usual.rank,
        "lora_alpha": usual.alpha,
        "lora_dropout": usual.dropout,
        "use_rslora": usual.rank_stabilised,
        "target_modules": sorted(loras),
        # Patterns are regular expressions.
        "rank_pattern": {re.escape(name): lora.rank for name, lora in loras.items() if lora.rank != usual.rank},
        "alpha_pattern": {re.escape(name): lora.alpha for name, lora in loras.items() if lora.alpha != usual.alpha},
    }


def _check(config: Mapping[str, Any], path: Path) -> None:
    """Refuses what is no plain LoRA."""
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{path} has peft_type={config.get('peft_type')!r}; accepted: 'LORA'")
    if config.get("bias", "none") != "none":
        raise ValueError(f"{path} has bias={config['bias']!r}; accepted: 'none'")
    for key, value in config.items():
        if value and key not in _KNOWN:
            raise ValueError(f"{path} has {key}={value!r}, which is not supported; accepted: null")
    if (beginning := config.get("init_lora_weights")) not in _BEGINNINGS:
        raise ValueError(
            f"{path} has init_lora_weights={beginning!r}, which changes the model's own weights; convert the adapter "
            "to plain LoRA with PEFT first"
        )


def _pairs(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B by the reference's map."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, kind = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
        if kind not in ("lora_A", "lora_B") or not name.startswith(_PREFIX) or tensor.ndim != 2:
            raise ValueError(f"{path} holds {name}, which is no part of a LoRA of linear maps")
        halves.setdefault(module, {})[kind] = tensor
    for module, half in halves.items():
        if len(half) < 2:
            raise ValueError(f"{path} has only {next(iter(half))} of {module}; copy the file anew")
    return {module: (half["lora_A"], half["lora_B"]) for module, half in halves.items()}


def _by_rows(model: nn.Module) -> dict[tuple[str, int, int], Place]:
    """Our places by map and rows; a projection rather than the whole map where they are the same rows."""
    found: dict[tuple[str, int, int], Place] = {}
    for place in places(model).values():
        key = (place.linear, place.first, place.last)
        if key not in found or place.name != WHOLE:
            found[key] = place
    return found


def _place(line: Name, by_rows: Mapping[tuple[str, int, int], Place], folder: Path) -> Place:
    """Where the update of one of their maps belongs."""
    linear = line.ours.removesuffix(".weight")
    mine = [place for (name, *_), place in by_rows.items() if name == linear]
    whole = max((place.last for place in mine), default=0)
    first, last = line.rows or (0, whole)
    key = (linear, first, last)
    if key not in by_rows or not _is_a_map(line):
        raise ValueError(f"{folder} adapts {line.theirs}, which is no linear map of its own with us")
    return by_rows[key]


def _lora(config: Mapping[str, Any], module: str, rank: int) -> LoRA:
    """The options of one map; PEFT lets patterns name those that differ."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    usual = config.get("lora_alpha", 8)
    alpha = next((each for key, each in patterns.items() if _names(key, module)), usual)
    return LoRA(
        rank=rank,
        alpha=float(alpha),
        dropout=float(config.get("lora_dropout") or 0.0),
        rank_stabilised=bool(config.get("use_rslora")),
    )


def _names(pattern: str, module: str) -> bool:
    """Whether a pattern, which is a stranger's, is of a module.

    Raises:
        ValueError: it is none, or one that could search for hours.
    """
    if re.search(r"(?<!\\)\)[*+{]", pattern) or len(re.findall(r"(?<!\\)[*+{]", pattern)) > 4:
        raise ValueError(
            f"alpha_pattern={pattern!r} repeats a group, or more than four things; name modules one by one"
        )
    try:
        return re.match(rf"(.*\.)?({pattern})$", module) is not None
    except re.error as error:
        raise ValueError(f"alpha_pattern={pattern!r} is no pattern: {error}") from error
