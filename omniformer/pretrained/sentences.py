"""Folders of the library sentence-transformers: how a text becomes one vector, from the files beside the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from omniformer.adapters.rights import usual_rights
from omniformer.config import build
from omniformer.files.untrusted import plain_name
from omniformer.model import OmniFormer
from omniformer.predictor import Member
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.files.checkpoint import WEIGHTS_FILE, Checkpoint, read_json
from omniformer.pretrained.files.companions import LENGTH_FILES, MODULES_FILE, SETTINGS_FILE, write_companions
from omniformer.pretrained.pretrained import Pretrained
from omniformer.pretrained.saving import save_pretrained
from omniformer.pretrained.tuned import Tuned
from omniformer.recipe import Node

HEAD = "sentences"
# By the key of the library's file, in the order in which what they give stands side by side, and by its newer name.
POOLS = {
    "pooling_mode_cls_token": ("cls", "FirstToken"),
    "pooling_mode_max_tokens": ("max", "MaxPool"),
    "pooling_mode_mean_tokens": ("mean", "MeanPool"),
    "pooling_mode_mean_sqrt_len_tokens": ("mean_sqrt_len_tokens", "RootPool"),
    "pooling_mode_weightedmean_tokens": ("weightedmean", "RampPool"),
    "pooling_mode_lasttoken": ("lasttoken", "LastToken"),
}
_COUNTS_FROM_THE_FIRST = ("FirstToken", "RampPool")
ACTIVATIONS = {"Identity": None, "Tanh": "tanh", "ReLU": "relu", "GELU": "gelu", "SiLU": "silu"}


@dataclass(slots=True)
class Modules:
    """What the files say of the way from tokens to one vector.

    Args:
        pools: our classes of poolings.
        dense: the options of each map.
        places: where the weights of each map lie, in the folder.
        unit: whether vectors have length one.
        pools_prompt: whether poolings read the tokens of a prompt.
    """

    pools: list[str] = field(default_factory=list)
    dense: list[Node] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    unit: bool = False
    pools_prompt: bool = True


class SentenceEncoder(Tuned):
    """A model that makes vectors of texts, from a folder of the library sentence-transformers, and back into one.

    Args:
        places: where the weights of its maps lie, in the folder.
        sentence_files: what such a folder holds beside a published model, by the path in it.
        **known: those of `Tuned`.
    """

    def __init__(self, *, places: list[str], sentence_files: Mapping[str, bytes], **known: Any) -> None:
        super().__init__(**known)
        self.places, self.sentence_files = places, dict(sentence_files)

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Writes the folder again: the model as the reference library reads it, and what stands behind it."""
        folder, model = Path(folder), self.model
        heads = {name: model.head(name) for name in model.heads if name != HEAD}
        below = OmniFormer(core=model.core, embedders=dict(model.embedders.items()), heads=heads)
        save_pretrained(below, folder, self.family.config, **options)
        write_companions(self.files, folder)
        for name, content in self.sentence_files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        head: Any = model.head(HEAD)
        for place, dense in zip(self.places, head.dense, strict=True):
            tensors = {f"linear.{name}": each.detach().contiguous() for name, each in dense.map.named_parameters()}
            save_file(tensors, folder / place / WEIGHTS_FILE, metadata={"format": "pt"})
            usual_rights(folder / place / WEIGHTS_FILE)


def with_sentences(loaded: Pretrained, folder: Path) -> SentenceEncoder:
    """A loaded model with the head that its folder describes.

    Args:
        loaded: what the folder's `config.json` describes.
        folder: holds `modules.json`.

    Raises:
        ValueError: a file is damaged, or asks for a step that we do not have; names the file.
    """
    files: dict[str, bytes] = {}
    modules = _modules(folder, files)
    settings, lengths = _settings(folder, files), _lengths(folder, files)
    recipe = loaded.recipe
    node = _head(modules, settings, lengths, d_model=recipe["core"]["d_model"])
    recipe["heads"][HEAD] = {"node": node, "facts": {}}
    if recipe["rules"]:
        recipe["rules"][HEAD] = next(iter(recipe["rules"].values()))
    head = build(node, f"heads.{HEAD}").to(next(loaded.model.parameters()).dtype)
    _fill(head, modules, folder)
    old = loaded.model
    rules = dict(old.rules)
    if rules:
        rules[HEAD] = next(iter(rules.values()))
    heads = {name: old.head(name) for name in old.heads} | {HEAD: head}
    model = OmniFormer(core=old.core, embedders=dict(old.embedders.items()), heads=heads, rules=rules)
    limits = [lengths.get("max_seq_length"), loaded.family.max_seq_len]
    most = min((limit for limit in limits if limit is not None), default=None)
    tokenizers = next((member.tokenizers for member in loaded.members.values()), loaded.tokenizers)
    members = {HEAD: Member(tokenizers=tokenizers, max_seq_len=most)} if tokenizers else {}
    known = {"family": loaded.family, "recipe": recipe, "files": loaded.files}
    made = SentenceEncoder(model=model, members=members, places=modules.places, sentence_files=files, **known)
    made.report = loaded.report
    return made


def _modules(folder: Path, files: dict[str, bytes]) -> Modules:
    """The steps of `modules.json`, in order."""
    path = folder / MODULES_FILE
    found = Modules()
    steps = _listed(path, files)
    if not steps or _kind(steps[0]) != "Transformer" or steps[0].get("path"):
        raise ValueError(f"{path}: the first step must be the Transformer of this folder itself, with path ''")
    for step in steps[1:]:
        kind, place = _kind(step), str(step.get("path", ""))
        if kind not in _STEPS:
            raise ValueError(f"{path} asks for a step {step.get('type')!r}; accepted: {', '.join(_STEPS)}")
        if found.unit or (kind == "Pooling" and found.pools):
            raise ValueError(f"{path}: {kind} stands behind {'Normalize' if found.unit else 'another Pooling'}")
        for part_of in Path(place).parts:
            plain_name(part_of, path)
        _STEPS[kind](found, folder, place, files)
    if not found.pools:
        raise ValueError(f"{path} has no Pooling, without which a text of several tokens has no single vector")
    return found


def _pooling(found: Modules, folder: Path, place: str, files: dict[str, bytes]) -> None:
    path, said = _config(folder, place, files)
    named = said.get("pooling_mode")
    named = [named] if isinstance(named, str) else named
    if named is None:
        found.pools = [ours for key, (_, ours) in POOLS.items() if said.get(key)]
        unknown = [key for key, on in said.items() if key.startswith("pooling_mode") and on and key not in POOLS]
    else:
        by_name = dict(POOLS.values())
        found.pools = [by_name[name] for name in named if name in by_name]
        unknown = [name for name in named if name not in by_name]
    if unknown or not found.pools:
        raise ValueError(f"{path} pools by {unknown or 'nothing'}; accepted: {', '.join(POOLS)}")
    found.pools_prompt = said.get("include_prompt", True)
    if not found.pools_prompt and (counting := [each for each in found.pools if each in _COUNTS_FROM_THE_FIRST]):
        raise ValueError(f"{path} has include_prompt=false with {', '.join(counting)}, which counts from the prompt on")


def _dense(found: Modules, folder: Path, place: str, files: dict[str, bytes]) -> None:
    path, said = _config(folder, place, files)
    name = str(said.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if name not in ACTIVATIONS:
        raise ValueError(f"{path} has activation_function={name!r}; accepted: {', '.join(ACTIVATIONS)}")
    if missing := [key for key in ("in_features", "out_features") if not isinstance(said.get(key), int)]:
        raise ValueError(f"{path} lacks {missing[0]}")
    options = {"features": said["in_features"], "d_embedding": said["out_features"], "bias": said.get("bias", True)}
    found.dense.append(factory("omniformer.heads.sentence.Dense", activation=ACTIVATIONS[name], **options))
    found.places.append(place)


def _normalize(found: Modules, folder: Path, place: str, files: dict[str, bytes]) -> None:
    found.unit = True


def _dropout(found: Modules, folder: Path, place: str, files: dict[str, bytes]) -> None:
    """Of training alone: of the vector that a classifier reads there."""


_STEPS: dict[str, Callable[[Modules, Path, str, dict[str, bytes]], None]] = {
    "Pooling": _pooling,
    "Dense": _dense,
    "Normalize": _normalize,
    "Dropout": _dropout,
}


def _head(modules: Modules, settings: Node, lengths: Node, *, d_model: int) -> Node:
    """How to build the head."""
    return part(
        "omniformer.heads.SentenceHead",
        d_model=d_model,
        pools=[factory(f"omniformer.heads.{name}") for name in modules.pools],
        dense=modules.dense,
        unit=modules.unit,
        similarity=settings.get("similarity_fn_name") or "cosine",
        prompts=settings.get("prompts") or {},
        prompt=settings.get("default_prompt_name"),
        pools_prompt=modules.pools_prompt,
        lower=bool(lengths.get("do_lower_case")),
    )


@torch.no_grad()
def _fill(head: Any, modules: Modules, folder: Path) -> None:
    """The weights of the maps."""
    for place, dense in zip(modules.places, head.dense, strict=True):
        checkpoint = Checkpoint(folder / place)
        wanted = {f"linear.{name}": each for name, each in dense.map.named_parameters()}
        shapes = {name: tuple(each.shape) for name, each in wanted.items()}
        if checkpoint.shapes != shapes:
            raise ValueError(f"{folder / place} holds {checkpoint.shapes}, its config.json says {shapes}")
        for name, first, rows in checkpoint.pieces(wanted):
            wanted[name][first : first + len(rows)].copy_(rows)


def _settings(folder: Path, files: dict[str, bytes]) -> dict[str, Any]:
    """Prompts, and how vectors are compared."""
    return _read(folder, SETTINGS_FILE, files) if (folder / SETTINGS_FILE).is_file() else {}


def _lengths(folder: Path, files: dict[str, bytes]) -> dict[str, Any]:
    """The longest text, and whether it is put in lower case."""
    name = next((each for each in LENGTH_FILES if (folder / each).is_file()), None)
    return {} if name is None else _read(folder, name, files)


def _config(folder: Path, place: str, files: dict[str, bytes]) -> tuple[Path, dict[str, Any]]:
    name = f"{place}/config.json"
    return folder / name, _read(folder, name, files)


def _read(folder: Path, name: str, files: dict[str, bytes]) -> dict[str, Any]:
    content = read_json(folder / name)
    files[name] = (folder / name).read_bytes()
    return content


def _listed(path: Path, files: dict[str, bytes]) -> list[dict[str, Any]]:
    files[MODULES_FILE] = path.read_bytes()
    steps = read_json(path, kind=list)
    if not all(isinstance(step, dict) and isinstance(step.get("type"), str) for step in steps):
        raise ValueError(f"{path} is damaged: a step has no type")
    return steps


def _kind(step: Mapping[str, Any]) -> str:
    """The class of the library, without where it lies."""
    return str(step["type"]).rpartition(".")[2]
