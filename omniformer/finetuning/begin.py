"""What a run begins from: a finished run, or a published model whose core, embedders and tokenizers it takes over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer

from omniformer import folder, pretrained
from omniformer.config import ConfigError
from omniformer.predictor import Predictor
from omniformer.pretrained import Pretrained, Tuned
from omniformer.pretrained.tokenizers.text import TOKENIZER_FILE
from omniformer.recipe import Node

# Keys of `model` that mean nothing without weights to begin from.
_OF_PRETRAINED = {
    "lora": "adapts a model that was trained before",
    "special_tokens": "are added to a published vocabulary",
    "image_size": "changes the size of pictures of a published model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The weights that a run begins from.

    Args:
        source: the folder, for messages.
        predictor: the model with its tokenizers.
        published: whether core, embedders and tokenizers are taken over as they are, whatever the configuration says:
            so it is with a published model, and with a run that began from one.
    """

    source: str
    predictor: Predictor
    published: bool

    @property
    def recipe(self) -> Node:
        """How to build the published model."""
        assert isinstance(self.predictor, Pretrained)
        return self.predictor.recipe

    @property
    def max_seq_len(self) -> int | None:
        """The longest text that the published model can read; None where there is no limit, or none is known."""
        return self.predictor.family.max_seq_len if isinstance(self.predictor, Pretrained) else None

    def tokenizers(self) -> list[tuple[str, Tokenizer]]:
        """Its tokenizers, each with its modality."""
        known = (*_by_member(self.predictor), self.predictor.tokenizers)
        return [each for mine in known for each in mine.items()]


def begin(config: Mapping[str, Any]) -> Beginning | None:
    """What `model.pretrained` names; None where it names nothing.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: a file is damaged.
        ConfigError: keys of `model` ask for weights that there are not.
    """
    model = config.get("model") or {}
    source = model.get("pretrained")
    if not source:
        for key, what in _OF_PRETRAINED.items():
            if model.get(key):
                raise ConfigError([f"model.{key}: {what}; name the model in model.pretrained"])
        return None
    if folder.is_published(Path(source)):
        # Weights that train are float32, whatever the file has; the trainer's precision says what is computed in.
        size = model.get("image_size") or None
        sides = (size, size) if isinstance(size, int) else size and tuple(size)
        predictor: Predictor = pretrained.load(source, dtype=torch.float32, image_size=sides)
    else:
        predictor = folder.load(source, allow_targets=config["allow_targets"])
        if model.get("image_size"):
            raise ConfigError([f"model.image_size: {source} is no published model; its tokenizer says the size"])
    published = isinstance(predictor, Pretrained)
    if names := model.get("special_tokens"):
        if not isinstance(predictor, Pretrained):
            mistake = (
                "model.special_tokens: are added to a published vocabulary; a tokenizer of your own takes them as "
                "tokenizer.special_tokens"
            )
            raise ConfigError([mistake])
        _add_special_tokens(predictor, names)
    return Beginning(source=str(source), predictor=predictor, published=published)


def tuned(predictor: Predictor, made: Node, beginning: Beginning | None) -> Predictor:
    """The predictor of a finished run; one that remembers the published model that it began from, if it did."""
    if beginning is None or not isinstance(beginning.predictor, Pretrained):
        return predictor
    family, files = beginning.predictor.family, beginning.predictor.files
    return Tuned(predictor.model, predictor.members, family=family, recipe=made, files=files)


def _add_special_tokens(model: Pretrained, names: Sequence[str]) -> None:
    """More special tokens for the texts of a published model, and rows for them where it has none to spare."""

    def larger(tokenizers: Mapping[str, Tokenizer]) -> dict[str, Tokenizer]:
        tokenizer: Any = tokenizers.get("text")
        if not hasattr(tokenizer, "with_special_tokens"):
            kind = "nothing" if tokenizer is None else f"a {type(tokenizer).__name__}"
            raise ConfigError([f"model.special_tokens: texts are read by {kind}, which takes no further ones"])
        return {**tokenizers, "text": tokenizer.with_special_tokens(names)}

    model.members = {
        name: replace(member, tokenizers=larger(member.tokenizers)) for name, member in model.members.items()
    }
    if model.tokenizers:
        model.tokenizers = larger(model.tokenizers)
    every: list[Any] = [each["text"] for each in (*_by_member(model), model.tokenizers) if "text" in each]
    if TOKENIZER_FILE in model.files:
        model.files[TOKENIZER_FILE] = every[0].library_model().to_str(pretty=True).encode()
    needed = max(tokenizer.vocab_size for tokenizer in every)
    if needed > pretrained.vocabulary_size(model):
        pretrained.resize_vocabulary(model, needed)


def _by_member(model: Predictor) -> list[Mapping[str, Tokenizer]]:
    return [member.tokenizers for member in model.members.values()]
