"""A published model: its core, embedders and tokenizers are taken over as they are, whatever the configuration says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer import pretrained
from omniformer.config import ConfigError
from omniformer.data.module import OmniDataModule
from omniformer.finetuning.beginning import Facts
from omniformer.finetuning.finished import FinishedRun
from omniformer.finetuning.recipe import joined, same_kind
from omniformer.finetuning.streams import holds, suit
from omniformer.finetuning.weights import check_rate
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.pretrained import Pretrained, Tuned
from omniformer.pretrained.tokenizers.text import TOKENIZER_FILE
from omniformer.recipe import Node
from omniformer.training.warm_start import Loaded, load_weights


class PublishedModel(FinishedRun):
    """A published model, or a run that began from one.

    Args:
        source: the folder, for messages.
        trained: the model with its tokenizers.
    """

    trained: Pretrained

    def __init__(self, source: str, trained: Pretrained) -> None:
        super().__init__(source, trained)

    def suit_streams(self, data: OmniDataModule, config: Mapping[str, Any]) -> None:
        suit(config, data, self.trained.family)

    def suit_tokenizers(self, data: OmniDataModule) -> None:
        """Puts its tokenizers in the place of any other of the same modality: weights mean nothing with other ids.

        Raises:
            ValueError: it reads a modality that its folder holds no tokenizer for.
        """
        for name, mine in data.tokenizers.items():
            for ours, theirs in data.streams[name].given_as.items():
                mine[theirs] = mine[ours]  # until its own takes the place
                if not holds(data.streams[name], ours):
                    del mine[ours]
            for modality in mine:
                same = self.tokenizers(modality)
                if modality in self.trained.recipe["embedders"] and not same:
                    raise ValueError(
                        f"{self.source} holds no tokenizer of {modality}, without which its weights mean nothing; "
                        "copy the tokenizer's files beside the weights"
                    )
                if same:
                    self.put(same[0], mine, modality, name)
            # What stands in its texts: pictures in conversations.
            for modality in {each for own in list(mine.values()) for each in own.placeholders} - set(mine):
                for own in self.tokenizers(modality)[:1]:
                    self.put(own, mine, modality, name)

    def brings(self, modality: str) -> bool:
        return modality in self.trained.recipe["embedders"]

    def recipe(self, config: Mapping[str, Any], facts: Facts) -> Node:
        return joined(config, facts, self.trained.recipe)

    def model(self, made: Node, config: Mapping[str, Any], data: OmniDataModule) -> OmniFormer:
        model = super().model(made, config, data)
        check_rate(model, config, self.source)
        return model

    def fill(self, model: OmniFormer, made: Node, data: OmniDataModule) -> Loaded:
        """Takes the weights over, those of a head by the member whose head is of its kind; freezes what nothing reads.

        Raises:
            ValueError: nothing fits; or the core is of another shape, as `model.core` asks for.
        """
        state = self.trained.model.state_dict()
        renamed = {name: tensor for name, tensor in state.items() if not name.startswith("heads.")}
        for name, head in made["heads"].items():
            if (theirs := same_kind(head["node"], self.trained.recipe)) is not None:
                prefix = f"heads.{theirs}."
                own = {each.removeprefix(prefix): each for each in state if each.startswith(prefix)}
                renamed |= {f"heads.{name}.{rest}": state[each] for rest, each in own.items()}
        self.loaded = loaded = load_weights(model, renamed)
        if wrong := [name for name in loaded.mismatched if name.startswith(("core.", "embedders."))]:
            raise ValueError(
                f"{self.source} has {wrong[0]} in another shape than this run; model.core may change what has no "
                "weights, such as dropout, and add parts, not change the sizes of the published ones"
            )
        rank_zero_info(f"{self.source}: its core and embedders take the place of the run's; {loaded}")
        self._freeze_unread(model, data)
        self._say_way_back(model, made, data)
        return loaded

    def theirs(self, name: str, made: Node) -> str:
        if name in self.trained.members:
            return name
        return same_kind(made["heads"][name]["node"], self.trained.recipe) or name

    def predictor(self, model: OmniFormer, members: Mapping[str, Member], made: Node) -> Predictor:
        """One that remembers the published model that it began from, reads no more than that can, and can be written
        back as one of its family.
        """
        family, files = self.trained.family, self.trained.files
        known = {
            name: replace(each, max_seq_len=family.max_seq_len or each.max_seq_len) for name, each in members.items()
        }
        return Tuned(model, known, family=family, recipe=made, files=files)

    def add_special_tokens(self, names: Sequence[str]) -> None:
        """Adds further special tokens to the vocabulary of texts, and rows for them where it has none to spare.

        Raises:
            ConfigError: its texts are read by a tokenizer that takes none.
        """

        def larger(tokenizers: Mapping[str, Tokenizer]) -> dict[str, Tokenizer]:
            tokenizer: Any = tokenizers.get("text")
            if not hasattr(tokenizer, "with_special_tokens"):
                kind = "nothing" if tokenizer is None else f"a {type(tokenizer).__name__}"
                raise ConfigError([f"model.special_tokens: texts are read by {kind}, which takes no further ones"])
            return {**tokenizers, "text": tokenizer.with_special_tokens(names)}

        model = self.trained
        model.members = {
            name: replace(member, tokenizers=larger(member.tokenizers)) for name, member in model.members.items()
        }
        if model.tokenizers:
            model.tokenizers = larger(model.tokenizers)
        every: list[Any] = self.tokenizers("text")
        if TOKENIZER_FILE in model.files:
            model.files[TOKENIZER_FILE] = every[0].library_model().to_str(pretty=True).encode()
        needed = max(tokenizer.vocab_size for tokenizer in every)
        if needed > pretrained.vocabulary_size(model):
            pretrained.resize_vocabulary(model, needed)

    def _say_way_back(self, model: OmniFormer, made: Node, data: OmniDataModule) -> None:
        """Says before anything is learned that the result has no place in files of the family, where it has none."""
        members = {name: Member(tokenizers=each, labels=data.labels(name)) for name, each in data.tokenizers.items()}
        learning = model.training
        try:
            Tuned(model, members, family=self.trained.family, recipe=made).as_published()
        except ValueError as error:
            rank_zero_info(f"{self.source}: the reference library will not read what this run makes: {error}")
        model.train(learning)  # a predictor evaluates

    def _freeze_unread(self, model: OmniFormer, data: OmniDataModule) -> None:
        """Keeps embedders that no member reads as they are: they get no gradient, which processes that train together
        would wait for.
        """
        read = {modality for mine in data.tokenizers.values() for modality in mine}
        embedders: Any = model.embedders
        used = {id(p) for modality in read if modality in embedders for p in embedders[modality].parameters()}
        for modality in set(self.trained.recipe["embedders"]) - read:
            for parameter in embedders[modality].parameters():
                if id(parameter) not in used:
                    parameter.requires_grad_(False)
