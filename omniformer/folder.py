"""The folder that explains itself: weights, recipe, tokenizers and label names of a trained model."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import omniformer_tokenizers
from omniformer_tokenizers import Tokenizer
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model

from omniformer import pretrained
from omniformer.adapters.lora import refuse_adapted
from omniformer.adapters.rights import usual_rights
from omniformer.card import card, write_card
from omniformer.config import BuildError, allowing
from omniformer.config.allow import NotAllowedError, within
from omniformer.config.build import locate
from omniformer.files.untrusted import (
    plain_name,
    refuse_layers_without_weights,
    refuse_link_out,
    refuse_links_out,
    told_of,
)
from omniformer.generation.allowed import Allowed
from omniformer.generation.speech import Speech
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.pretrained.family import kind_of
from omniformer.pretrained.files import hub
from omniformer.pretrained.files.checkpoint import config_path, read_json
from omniformer.pretrained.files.companions import read_companions, write_companions
from omniformer.pretrained.gguf import gguf_file
from omniformer.quantization import Weights, quantize, refuse_quantized
from omniformer.recipe import build_model

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
# Where a model that began from a published one keeps the small files that lay beside it.
COMPANIONS = "published"
_IDENTIFIERS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.?")


def save(
    folder: str | Path, predictor: Predictor, *, recipe: Mapping[str, Any], allow_targets: Sequence[str] = ()
) -> None:
    """Writes a model into a folder from which `load` rebuilds it: JSON and safetensors, never pickle; and a card.

    Args:
        folder: made when missing.
        predictor: the model, its tokenizers and label names.
        recipe: how to build the model again (`omniformer.recipe`).
        allow_targets: packages beside our own whose classes the recipe names, for the reader's information.

    Raises:
        ValueError: the model has an adapter, which the recipe does not know, or its weights are quantized.
    """
    refuse_adapted(predictor.model)
    refuse_quantized(predictor.model)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    members = {}
    for name, member in predictor.members.items():
        members[name] = {
            "modalities": list(member.tokenizers),
            "labels": list(member.labels),
            "max_seq_len": member.max_seq_len,
            "given": list(member.given),
            "allowed": None if member.allowed is None else asdict(member.allowed),
        }
        if member.speech is not None:
            members[name]["speech"] = asdict(member.speech)
        for modality, tokenizer in member.tokenizers.items():
            tokenizer.save_pretrained(folder / "tokenizers" / name / modality)
    for modality, tokenizer in predictor.tokenizers.items():
        tokenizer.save_pretrained(folder / "tokenizers" / modality)
    config = {"format": 1, "recipe": recipe, "members": members, "allow_targets": list(allow_targets)}
    if isinstance(predictor, pretrained.Tuned):
        # So that the model can be written back as one of its family.
        config["published"] = predictor.family.config
        (folder / COMPANIONS).mkdir(exist_ok=True)
        write_companions(predictor.files, folder / COMPANIONS)
    if predictor.tokenizers:
        config["modalities"] = list(predictor.tokenizers)
    save_model(predictor.model, str(folder / WEIGHTS_FILE))
    usual_rights(folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    named = folder.resolve()
    write_card(folder, card(predictor, title=named.parent.name if named.name == "model" else named.name))


def load(
    folder: str | Path,
    *,
    weights: Weights | None = None,
    allow_targets: Sequence[str] = (),
    revision: str | None = None,
) -> Predictor:
    """Rebuilds a trained model with its tokenizers and label names, ready to predict; no Hydra, no Lightning.

    Args:
        folder: a run folder, the `model` folder in it, or the folder of a published model
            (see `omniformer.pretrained.load`). Where there is none, the name of a model of either kind on the hub,
            `owner/model` or `owner/model@revision`, is fetched, which needs the optional library huggingface-hub; see
            `omniformer.pretrained.files.hub` for what is trusted.
        weights: rounded to "bf16", "int8" or "int4" to take less memory; see `omniformer.quantization.quantize`, and
            docs/pretrained.md for what it costs. None leaves them as they are.
        allow_targets: packages of your own whose classes the folder may name, for example `["mypackage"]`. Without it
            a folder can only build parts of models of this project: its files never run code, and lead nowhere else.
        revision: of a model on the hub: a branch, a tag, or the hash of a commit, which alone stays what it is.

    Returns:
        The model ready to predict; a `pretrained.Pretrained`, with `save_pretrained`, where it is a published one or
        was trained from one.

    Raises:
        FileNotFoundError: the folder holds no saved model, or a model cannot be fetched.
        ValueError: a file is damaged, weights and recipe disagree, a link leads out of the folder, or it names what a
            saved model may not; names the file.

    Example:
        >>> predictor = load("outputs/vision/latest")  # doctest: +SKIP
        >>> predictor.predict(Path("seven.png"))[0].label  # doctest: +SKIP
        '7'
    """
    given = hub.local(folder, revision)
    if is_published(given):
        return pretrained.load(given, weights=weights)
    folder = model_folder(given)
    refuse_links_out(folder, of=given)
    path = folder / CONFIG_FILE
    config = read_json(path)
    refuse_layers_without_weights(config.get("recipe"), _n_tensors(folder / WEIGHTS_FILE), path)
    with told_of(path):
        model = _model(config, path, allow_targets)
    try:
        load_model(model, str(folder / WEIGHTS_FILE))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} does not fit {path}: {error}") from error
    if weights is not None:
        quantize(model, weights)
    try:
        trusted = partial(_trusted, config, allow_targets)
        members = {name: _member(name, member, folder, trusted) for name, member in config["members"].items()}
        tokenizers = _tokenizers(folder, "", config.get("modalities", ()), trusted)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; copy the folder anew or train again") from error
    if "published" in config:
        with told_of(path):
            family = pretrained.family_of(config["published"], f"{path}: published")
        files = read_companions(folder / COMPANIONS) if (folder / COMPANIONS).is_dir() else {}
        return pretrained.Tuned(
            model, members, tokenizers=tokenizers, family=family, recipe=config["recipe"], files=files
        )
    return Predictor(model, members, tokenizers=tokenizers)


def recipe_of(folder: str | Path) -> dict[str, Any]:
    """How a saved model is built, as its folder says it.

    Raises:
        FileNotFoundError: the folder holds no saved model.
    """
    path = model_folder(Path(folder)) / CONFIG_FILE
    refuse_link_out(path, Path(folder))
    return read_json(path)["recipe"]


def is_published(folder: Path) -> bool:
    """Whether a folder holds a model in the layout of the reference library, or a GGUF file, not in ours."""
    path = folder / CONFIG_FILE
    if gguf_file(folder) is not None and not (folder / "model" / CONFIG_FILE).is_file():
        return True
    path = config_path(folder) if not path.is_file() else path
    if not path.is_file():
        return False
    refuse_link_out(path, folder)
    return kind_of(read_json(path)) is not None


def _n_tensors(path: Path) -> int:
    """How many tensors a file holds, of which none is read."""
    try:
        with safe_open(path, framework="pt") as file:
            return len(file.keys())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error


def _model(config: Mapping[str, Any], path: Path, allow_targets: Sequence[str]) -> OmniFormer:
    """The model of a saved recipe, with fresh weights."""
    recipe = config.get("recipe")
    if not isinstance(recipe, dict) or not isinstance(config.get("members"), dict):
        raise ValueError(f"{path} is damaged: it lacks recipe or members; copy the folder anew or train again")
    try:
        with allowing(allow_targets):
            return build_model(recipe)
    except BuildError as error:
        raise BuildError(f"{path}: {error}{asked(config, allow_targets)}") from error


def asked(config: Mapping[str, Any], allow_targets: Sequence[str]) -> str:
    """The end of a message: which packages a folder names that the user has not allowed, and what to type if they are
    trusted; empty where there are none.

    Args:
        config: what the folder says of itself.
        allow_targets: those that are allowed already.

    Example:
        >>> asked({"allow_targets": ["mypackage"]}, [])
        '; the folder asks for mypackage: if you trust that code, add --allow-targets mypackage (in Python and for ...
    """
    named = config.get("allow_targets")
    names = [str(each) for each in named] if isinstance(named, list) else []
    known = {each.removesuffix(".") for each in allow_targets}
    missing = [name for name in names if name.removesuffix(".") not in known and _IDENTIFIERS.fullmatch(name)]
    if not missing:
        return ""
    return (
        f"; the folder asks for {', '.join(missing)}: if you trust that code, add --allow-targets {' '.join(missing)} "
        f"(in Python and for training allow_targets=[{','.join(missing)}])"
    )


def _member(name: str, described: Mapping[str, Any], folder: Path, trusted: Callable[[str], object]) -> Member:
    given, known = described.get("given", ()), described["modalities"]
    if not isinstance(described["labels"], list) or not set(given) <= set(known):
        raise ValueError(f"{folder / CONFIG_FILE} is damaged: {name} reads {given} of {known}; copy the folder anew")
    return Member(
        tokenizers=_tokenizers(folder, name, known, trusted),
        labels=tuple(str(label) for label in described["labels"]),
        max_seq_len=described["max_seq_len"],
        given=tuple(given),
        allowed=Allowed(**described["allowed"]) if described.get("allowed") else None,
        speech=Speech(**described["speech"]) if described.get("speech") else None,
    )


def _trusted(config: Mapping[str, Any], allow_targets: Sequence[str], target: str) -> object:
    """The class of a tokenizer of somebody's own, where its package is allowed."""
    try:
        with within("model"), allowing(allow_targets):
            return locate(target)
    except (LookupError, NotAllowedError) as error:
        raise ValueError(f"{error}{asked(config, allow_targets)}") from error


def _tokenizers(
    folder: Path, member: str, modalities: Iterable[str], trusted: Callable[[str], object]
) -> dict[str, Tokenizer]:
    """The tokenizers of a member, or those that belong to none."""
    path = folder / CONFIG_FILE
    place = folder / "tokenizers" / plain_name(member, path) if member else folder / "tokenizers"
    return {each: omniformer_tokenizers.load(place / plain_name(each, path), trusted=trusted) for each in modalities}


def model_folder(folder: Path) -> Path:
    """The folder of the model itself, where a run folder or that one is given.

    Raises:
        FileNotFoundError: there is no saved model in either.
    """
    for candidate in (folder, folder / "model"):
        if (candidate / CONFIG_FILE).is_file() and (candidate / WEIGHTS_FILE).is_file():
            return candidate
    raise FileNotFoundError(
        f"{folder} holds no trained model: looked for {CONFIG_FILE} and {WEIGHTS_FILE} there and in {folder / 'model'}"
    )
