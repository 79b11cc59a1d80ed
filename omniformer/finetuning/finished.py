"""A finished run: one to go on from, and one to be measured as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer.config import ConfigError
from omniformer.data.from_config import build_data
from omniformer.data.module import OmniDataModule
from omniformer.finetuning.beginning import Beginning, Facts
from omniformer.generation import Allowed
from omniformer.model import OmniFormer
from omniformer.predictor import Predictor
from omniformer.recipe import Node
from omniformer.training.warm_start import Loaded, load_weights

_UNITS = (".target_mean", ".target_std")


class FinishedRun(Beginning):
    """The weights of a finished run, as far as they fit, and its vocabularies in the place of those yet to be learned.

    Args:
        source: the folder, for messages.
        trained: its model with its tokenizers.
    """

    def __init__(self, source: str, trained: Predictor) -> None:
        self.source = source
        self.trained = trained
        self.loaded: Loaded | None = None

    def suit_tokenizers(self, data: OmniDataModule) -> None:
        for name, mine in data.tokenizers.items():
            for modality, tokenizer in mine.items():
                same = [each for each in self.tokenizers(modality) if type(each) is type(tokenizer)]
                if same and not tokenizer.fitted:
                    self.put(same[0], mine, modality, name)

    def fill(self, model: OmniFormer, made: Node, data: OmniDataModule) -> Loaded:
        """Takes over all that fits, but for the units of numbers: the data at hand may lie elsewhere."""
        state = self.trained.model.state_dict()
        known = {name: value for name, value in state.items() if not name.endswith(_UNITS)}
        self.loaded = load_weights(model, known)
        rank_zero_info(f"{self.source}: {self.loaded}")
        return self.loaded

    @property
    def knows(self) -> bool:
        fresh = () if self.loaded is None else (*self.loaded.missing, *self.loaded.mismatched)
        return self.loaded is not None and all(name.startswith("heads.") for name in fresh)

    def allowed(self, made: Node) -> dict[str, Allowed]:
        members = {name: self.trained.members.get(self.theirs(name, made)) for name in made["heads"]}
        return {name: each.allowed for name, each in members.items() if each is not None and each.allowed is not None}

    def theirs(self, name: str, made: Node) -> str:
        """What a head of the run is called there."""
        return name

    def add_special_tokens(self, names: Sequence[str]) -> None:
        """Adds further special tokens to the vocabulary of texts.

        Raises:
            ConfigError: it is not one that takes them here.
        """
        mistake = (
            "model.special_tokens: are added to a published vocabulary; a tokenizer of your own takes them as "
            "tokenizer.special_tokens"
        )
        raise ConfigError([mistake])

    def tokenizers(self, modality: str) -> list[Tokenizer]:
        """Its tokenizers of a modality, those of members first."""
        every = (*(member.tokenizers for member in self.trained.members.values()), self.trained.tokenizers)
        return [each[modality] for each in every if modality in each]

    def put(self, tokenizer: Tokenizer, mine: dict[str, Tokenizer], modality: str, name: str) -> None:
        """Puts a tokenizer of its own in the place of a member's, and says so."""
        mine[modality] = tokenizer
        rank_zero_info(f"{name}: the tokenizer of {modality} is that of {self.source}")


class MeasuredRun(Beginning):
    """A finished run that does not go on: its model and its tokenizers as they are, whatever it began from.

    Args:
        run: the run, as one to begin from.
        made: how its model is built.
    """

    def __init__(self, run: FinishedRun, made: Node) -> None:
        self.run = run
        self.made = made

    def data(self, config: Mapping[str, Any]) -> OmniDataModule:
        members = self.run.trained.members.items()
        data = build_data(config, {name: dict(member.tokenizers) for name, member in members})
        self.run.suit_streams(data, config)
        return data

    def brings(self, modality: str) -> bool:
        return True

    def recipe(self, config: Mapping[str, Any], facts: Facts) -> Node:
        return self.made

    def model(self, made: Node, config: Mapping[str, Any], data: OmniDataModule) -> OmniFormer:
        return self.run.trained.model

    def allowed(self, made: Node) -> dict[str, Allowed]:
        return self.run.allowed(made)
