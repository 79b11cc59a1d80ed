"""The folder that explains itself: weights, recipe, tokenizers and label names of a trained model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import omniformer_tokenizers
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from omniformer import pretrained
from omniformer.config import allowing
from omniformer.generation.allowed import Allowed
from omniformer.predictor import Member, Predictor
from omniformer.pretrained.checkpoint import read_json
from omniformer.pretrained.companions import read_companions, write_companions
from omniformer.recipe import build_model

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
# Where a model that began from a published one keeps the small files that lay beside it.
COMPANIONS = "published"


def save(
    folder: str | Path, predictor: Predictor, *, recipe: Mapping[str, Any], allow_targets: Sequence[str] = ()
) -> None:
    """Writes a model into a folder from which `load` rebuilds it: JSON and safetensors, never pickle.

    Args:
        folder: made when missing.
        predictor: the model, its tokenizers and label names.
        recipe: how to build the model again (`omniformer.recipe`).
        allow_targets: packages beside our own whose classes the recipe names, for the reader's information.
    """
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
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load(folder: str | Path, *, allow_targets: Sequence[str] = ()) -> Predictor:
    """Rebuilds a trained model with its tokenizers and label names, ready to predict; no Hydra, no Lightning.

    Args:
        folder: a run folder, the `model` folder in it, or the folder of a published model
            (see `omniformer.pretrained.load`).
        allow_targets: packages of your own whose classes the folder may name, for example `["mypackage."]`. Without it
            a folder can only build classes of this project and of PyTorch: files never run code.

    Returns:
        The model ready to predict; a `pretrained.Pretrained`, with `save_pretrained`, where it is a published one or
        was trained from one.

    Raises:
        FileNotFoundError: the folder holds no saved model.
        ValueError: a file is damaged, or weights and recipe disagree; names the file.

    Example:
        >>> predictor = load("outputs/vision/latest")  # doctest: +SKIP
        >>> predictor.predict(["seven.png"])[0].label  # doctest: +SKIP
        '7'
    """
    if is_published(Path(folder)):
        return pretrained.load(folder)
    folder = _model_folder(Path(folder))
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        recipe, described = config["recipe"], config["members"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; copy the folder anew or train again") from error
    with allowing(allow_targets):
        model = build_model(recipe)
    try:
        load_model(model, str(folder / WEIGHTS_FILE))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{folder / WEIGHTS_FILE} does not fit {path}: {error}") from error
    members = {
        name: Member(
            tokenizers={
                modality: omniformer_tokenizers.load(folder / "tokenizers" / name / modality)
                for modality in member["modalities"]
            },
            labels=tuple(member["labels"]),
            max_seq_len=member["max_seq_len"],
            given=tuple(member.get("given", ())),
            allowed=Allowed(**member["allowed"]) if member.get("allowed") else None,
        )
        for name, member in described.items()
    }
    tokenizers = {
        modality: omniformer_tokenizers.load(folder / "tokenizers" / modality)
        for modality in config.get("modalities", ())
    }
    if "published" in config:
        family = pretrained.family_of(config["published"], f"{path}: published")
        files = read_companions(folder / COMPANIONS) if (folder / COMPANIONS).is_dir() else {}
        return pretrained.Tuned(model, members, tokenizers=tokenizers, family=family, recipe=recipe, files=files)
    return Predictor(model, members, tokenizers=tokenizers)


def recipe_of(folder: str | Path) -> dict[str, Any]:
    """How a saved model is built, as its folder says it.

    Raises:
        FileNotFoundError: the folder holds no saved model.
    """
    return read_json(_model_folder(Path(folder)) / CONFIG_FILE)["recipe"]


def is_published(folder: Path) -> bool:
    """Whether a folder holds a model in the layout of the reference library, not in ours."""
    path = folder / CONFIG_FILE
    return path.is_file() and "model_type" in read_json(path)


def _model_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "model"):
        if (candidate / CONFIG_FILE).is_file() and (candidate / WEIGHTS_FILE).is_file():
            return candidate
    raise FileNotFoundError(
        f"{folder} holds no trained model: looked for {CONFIG_FILE} and {WEIGHTS_FILE} there and in {folder / 'model'}"
    )
