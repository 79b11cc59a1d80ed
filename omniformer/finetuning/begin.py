"""Chooses what a run begins from, of the kinds that there are: the one place that asks which kind it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from omniformer import folder, pretrained
from omniformer.config import ConfigError
from omniformer.finetuning.beginning import Beginning
from omniformer.finetuning.finished import FinishedRun, MeasuredRun
from omniformer.finetuning.published import PublishedModel
from omniformer.predictor import Predictor
from omniformer.pretrained import Pretrained
from omniformer.pretrained.files import hub

# Keys of `model` that mean nothing without weights to begin from.
_OF_PRETRAINED = {
    "lora": "adapts a model that was trained before",
    "special_tokens": "are added to a published vocabulary",
    "image_size": "changes the size of pictures of a published model",
}


def begin(config: Mapping[str, Any]) -> Beginning:
    """What `model.pretrained` names; fresh weights where it names nothing.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: a file is damaged.
        ConfigError: keys of `model` ask for weights that there are not.
    """
    model = config.get("model") or {}
    if model.get("weights") and not model.get("lora"):
        raise ConfigError(["model.weights: rounded weights do not learn; say in model.lora what learns beside them"])
    source = model.get("pretrained")
    if not source:
        for key, what in _OF_PRETRAINED.items():
            if model.get(key):
                raise ConfigError([f"model.{key}: {what}; name the model in model.pretrained"])
        return Beginning()
    size = model.get("image_size") or None
    place = hub.local(source)
    if folder.is_published(place):
        # Weights that train are float32, whatever the file has; the trainer's precision says what is computed in.
        sides = (size, size) if isinstance(size, int) else size and tuple(size)
        predictor: Predictor = pretrained.load(place, dtype=torch.float32, image_size=sides)
    elif size:
        raise ConfigError([f"model.image_size: {source} is no published model; its tokenizer says the size"])
    else:
        predictor = folder.load(place, allow_targets=config["allow_targets"])
    found = _kind(str(source), predictor)
    if names := model.get("special_tokens"):
        torch.manual_seed(config["seed"])  # their rows are drawn at random
        found.add_special_tokens(names)
    return found


def measured(run: str | Path, predictor: Predictor) -> MeasuredRun:
    """A finished run as it is, to be measured again.

    Args:
        run: the run folder.
        predictor: its model, loaded from there.
    """
    return MeasuredRun(_kind(str(run), predictor), folder.recipe_of(run))


def _kind(source: str, predictor: Predictor) -> FinishedRun:
    if predictor.published:
        return PublishedModel(source, cast(Pretrained, predictor))
    return FinishedRun(source, predictor)
