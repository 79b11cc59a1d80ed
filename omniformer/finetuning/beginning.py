"""What a run begins from, as the few questions that assembling a run asks of it; answered here for fresh weights."""

from collections.abc import Mapping
from typing import Any

from omniformer.data.from_config import build_data
from omniformer.data.module import OmniDataModule
from omniformer.finetuning.recipe import with_overlay
from omniformer.finetuning.weights import settle
from omniformer.generation import Allowed
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.recipe import Node, build_model, recipe
from omniformer.training.warm_start import Loaded

Facts = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By member and modality, what the data and their tokenizer say of themselves."""


class Beginning:
    """Fresh weights, and the base of all else that a run can begin from: another kind answers some questions otherwise.

    `omniformer.experiment.assemble` asks them from top to bottom and never which kind it has.
    """

    def data(self, config: Mapping[str, Any]) -> OmniDataModule:
        """The data of the run, not yet read, as the weights are used to them."""
        data = build_data(config)
        self.suit_streams(data, config)
        self.suit_tokenizers(data)
        return data

    def suit_streams(self, data: OmniDataModule, config: Mapping[str, Any]) -> None:
        """Changes how data are fed to what the weights are used to."""

    def suit_tokenizers(self, data: OmniDataModule) -> None:
        """Puts tokenizers that the weights were trained with in the place of the run's."""

    def brings(self, modality: str) -> bool:
        """Whether the weights bring the embedder of a modality along, so that the configuration's is not asked."""
        return False

    def recipe(self, config: Mapping[str, Any], facts: Facts) -> Node:
        """How the model of the run is built."""
        return recipe({**config, "core": with_overlay(config["core"], config)}, facts)

    def model(self, made: Node, config: Mapping[str, Any], data: OmniDataModule) -> OmniFormer:
        """The model of a recipe, with the weights that it begins with and those of them frozen that are to stay."""
        model = build_model(made)
        settle(model, config, self.fill(model, made, data))
        return model

    def fill(self, model: OmniFormer, made: Node, data: OmniDataModule) -> Loaded | None:
        """Takes weights over; None where there are none to take."""
        return None

    @property
    def knows(self) -> bool:
        """Whether all but heads came with weights, so that what a head reads means something before anything learns."""
        return False

    def allowed(self, made: Node) -> dict[str, Allowed]:
        """Which ids the texts of each task may hold, where something is said of it."""
        return {}

    def predictor(self, model: OmniFormer, members: Mapping[str, Member], made: Node) -> Predictor:
        """The model of a finished run with all that is needed to use it."""
        return Predictor(model, members)
