"""What a run begins from: a finished run, or a published model whose core, embedders and tokenizers it takes over."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer import folder, pretrained
from omniformer.adapters import LoRA, apply_lora
from omniformer.adapters.lora import Updates
from omniformer.config import ConfigError
from omniformer.config.build import locate
from omniformer.config.validate import validate_node
from omniformer.data.module import OmniDataModule
from omniformer.predictor import Predictor
from omniformer.pretrained import Pretrained
from omniformer.pretrained.tuned import Tuned
from omniformer.recipe import Node, recipe
from omniformer.training.warm_start import Loaded, freeze, load_weights, trainable

log = logging.getLogger(__name__)

# Keys of `model` that mean nothing without weights to begin from.
_OF_PRETRAINED = {
    "lora": "adapts a model that was trained before",
    "special_tokens": "are added to a published vocabulary",
    "image_size": "changes the size of pictures of a published model",
}
_MASKABLE = "omniformer.embedders.Maskable"
_CAUSAL = "omniformer.core.rules.Causal"


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
        size = model.get("image_size")
        predictor: Predictor = pretrained.load(source, dtype=torch.float32, image_size=tuple(size) if size else None)
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


def take_tokenizers(data: OmniDataModule, beginning: Beginning) -> None:
    """Puts tokenizers of the beginning in the place of the run's: weights mean nothing with other ids.

    Those of a published model take the place of any other of the same modality; those of a run that would have to be
    fitted anew give way where the class is the same.

    Raises:
        ValueError: the published model reads a modality that its folder holds no tokenizer for.
    """
    saved = beginning.tokenizers()
    for name, mine in data.tokenizers.items():
        for modality, tokenizer in mine.items():
            same = [other for other_name, other in saved if other_name == modality]
            if not beginning.published:
                same = [other for other in same if type(other) is type(tokenizer) and not tokenizer.fitted]
            elif modality in beginning.recipe["embedders"] and not same:
                raise ValueError(
                    f"{beginning.source} holds no tokenizer of {modality}, without which its weights mean nothing; "
                    "copy the tokenizer's files beside the weights"
                )
            if same:
                mine[modality] = same[0]
                rank_zero_info(f"{name}: the tokenizer of {modality} is that of {beginning.source}")


def recipe_from(
    config: Mapping[str, Any], facts: Mapping[str, Mapping[str, Mapping[str, Any]]], beginning: Beginning | None
) -> Node:
    """The recipe of a run: that of its configuration, with what is taken over from a published model.

    A head of the same kind as the published one takes its options, such as tied tables; its sizes are those of the
    data. A task that asks for a plain causal rule gets the published one, which may have a window.

    Args:
        config: the configuration of the run.
        facts: by member and modality, as `omniformer.recipe.recipe` wants them.
        beginning: what the run begins from.

    Raises:
        ConfigError: `model.core` has keys or values that the core does not have, or a member hides tokens in a way that
            the published embedder does not know.
    """
    overlay = (config.get("model") or {}).get("core")
    taken = beginning.recipe if beginning is not None and beginning.published else None
    core = _laid_over(config["core"] if taken is None else taken["core"], overlay or {})
    if overlay:
        validate_node(core, "model.core")
    if taken is None:
        return recipe({**config, "core": core}, facts)
    known = {
        name: {modality: {**each, **_vocabulary(taken, modality)} for modality, each in by_modality.items()}
        for name, by_modality in facts.items()
    }
    made = recipe({**config, "core": core}, known)
    _refuse_maskable(made, taken)
    # In the published order, which may be that of towers; what no member reads stays, so that the model is whole.
    made["embedders"] = dict(taken["embedders"]) | {
        modality: node for modality, node in made["embedders"].items() if modality not in taken["embedders"]
    }
    for name in made["heads"]:
        if (theirs := _same_kind(made["heads"][name]["node"], taken)) is None:
            continue
        made["heads"][name] = _joined(made["heads"][name], taken["heads"][theirs])
        if (made["rules"].get(name) or {}).get("_target_") == _CAUSAL and theirs in taken["rules"]:
            made["rules"][name] = taken["rules"][theirs]
    return made | ({"ties": taken["ties"]} if taken.get("ties") else {})


def fill(model: nn.Module, made: Node, beginning: Beginning) -> Loaded:
    """Takes the weights over, those of a published head by the member whose head is of its kind.

    Raises:
        ValueError: nothing fits; or the core of a published model is of another shape, as `model.core` asks for.
    """
    state = beginning.predictor.model.state_dict()
    if not beginning.published:
        loaded = load_weights(model, state)
        rank_zero_info(f"{beginning.source}: {loaded}")
        return loaded
    renamed = {name: tensor for name, tensor in state.items() if not name.startswith("heads.")}
    for name, head in made["heads"].items():
        if (theirs := _same_kind(head["node"], beginning.recipe)) is not None:
            prefix = f"heads.{theirs}."
            own = {each.removeprefix(prefix): each for each in state if each.startswith(prefix)}
            renamed |= {f"heads.{name}.{rest}": state[each] for rest, each in own.items()}
    loaded = load_weights(model, renamed)
    if wrong := [name for name in loaded.mismatched if name.startswith(("core.", "embedders."))]:
        raise ValueError(
            f"{beginning.source} has {wrong[0]} in another shape than this run; model.core may change what has no "
            "weights, such as dropout, and add parts, not change the sizes of the published ones"
        )
    rank_zero_info(f"{beginning.source}: its core and embedders take the place of the run's; {loaded}")
    return loaded


def settle(model: nn.Module, config: Mapping[str, Any], loaded: Loaded | None) -> None:
    """Says which parameters learn: freezes what `model.freeze` names, and adapts as `model.lora` says.

    Args:
        model: with its weights.
        config: the configuration of the run.
        loaded: what was taken over; None for a run from fresh weights.
    """
    keys = config.get("model") or {}
    if patterns := keys.get("freeze"):
        if loaded is None:
            log.warning(
                "model.freeze without model.pretrained keeps random weights as they are: name what to begin from"
            )
        frozen = freeze(model, patterns)
        rank_zero_info(f"{len(frozen)} parameters frozen; {trainable(model):,} numbers left to train")
    if keys.get("lora"):
        assert loaded is not None
        kept = {id(parameter) for parameter in model.parameters() if not parameter.requires_grad}
        fresh = {*loaded.missing, *loaded.mismatched}
        paths = apply_lora(model, LoRA(**keys["lora"]), train=())
        for name, parameter in model.named_parameters():
            if name in fresh and id(parameter) not in kept:
                parameter.requires_grad_(True)
        for module in model.modules():
            if isinstance(module, Updates):
                module.train()  # beside parts that are frozen whole, and so have no dropout
        rank_zero_info(f"{len(paths)} projections adapted; {trainable(model):,} numbers to train")


def limit_lengths(config: Mapping[str, Any], data: OmniDataModule, most: int | None) -> None:
    """Lets no text be longer than a published model can read: single texts are cut, pieces of running text refused.

    Args:
        config: the configuration of the run.
        data: its data, whose streams are changed.
        most: the longest text in tokens; None for no limit.

    Raises:
        ConfigError: pieces of running text are to be longer; names the key, both lengths and what to do.
    """
    if most is None:
        return
    problems = []
    for name, stream in data.streams.items():
        if stream.arrange is None:
            stream.max_tokens = min(most, stream.max_tokens or most)
        for key in ("seq_len", "max_tokens"):
            length = getattr(stream.arrange, key, None)
            if isinstance(length, int) and length > most:
                path = f"members.{name}." if config.get("members") else ""
                problems.append(
                    f"{path}data.arrange.{key}={length} is more than the {most} tokens that the model can read; make "
                    f"it at most {most}"
                )
    if problems:
        raise ConfigError(problems)


def freeze_unread(model: nn.Module, data: OmniDataModule, beginning: Beginning) -> None:
    """Keeps embedders that no member reads as they are: they get no gradient, which processes that train together
    would wait for.
    """
    read = {modality for mine in data.tokenizers.values() for modality in mine}
    embedders: Any = getattr(model, "embedders")  # noqa: B009 - a module's attribute has no type
    used = {id(p) for modality in read if modality in embedders for p in embedders[modality].parameters()}
    for modality in set(beginning.recipe["embedders"]) - read:
        for parameter in embedders[modality].parameters():
            if id(parameter) not in used:
                parameter.requires_grad_(False)


def tuned(predictor: Predictor, made: Node, beginning: Beginning | None) -> Predictor:
    """The predictor of a finished run; one that remembers the published model that it began from, if it did."""
    if beginning is None or not isinstance(beginning.predictor, Pretrained):
        return predictor
    return Tuned(predictor.model, predictor.members, family=beginning.predictor.family, recipe=made)


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
    needed = max(tokenizer.vocab_size for tokenizer in every)
    if needed > pretrained.vocabulary_size(model):
        pretrained.resize_vocabulary(model, needed)


def _by_member(model: Predictor) -> list[Mapping[str, Tokenizer]]:
    return [member.tokenizers for member in model.members.values()]


def _laid_over(node: Node, keys: Mapping[str, Any]) -> Node:
    """A description with other values for some keys; a part of another class takes the place of the whole."""
    result = dict(node)
    for key, value in keys.items():
        old = result.get(key)
        if (
            isinstance(old, dict)
            and isinstance(value, Mapping)
            and value.get("_target_", old.get("_target_")) == old.get("_target_")
        ):
            result[key] = _laid_over(old, value)
        else:
            result[key] = value
    return result


def _vocabulary(taken: Node, modality: str) -> Node:
    """The number of ids that the published embedder knows: it may have rows that no id uses yet."""
    node = taken["embedders"].get(modality, {}).get("node", {})
    return {"vocab_size": node["vocab_size"]} if "vocab_size" in node else {}


def _same_kind(head: Node, taken: Node) -> str | None:
    """The published head of the same class, of which a head takes options and weights."""
    mine = locate(head["_target_"])
    return next((name for name, each in taken["heads"].items() if locate(each["node"]["_target_"]) is mine), None)


def _joined(mine: Node, theirs: Node) -> Node:
    """The published head, with the sizes that the data say."""
    sizes = {key: value for key, value in mine["facts"].items() if key in ("n_classes", "n_outputs")}
    node = {key: value for key, value in theirs["node"].items() if key not in sizes}
    return {"node": node, "facts": theirs["facts"] | (mine["facts"] if sizes else {})}


def _refuse_maskable(made: Node, taken: Node) -> None:
    for modality, embedder in made["embedders"].items():
        if modality in taken["embedders"] and embedder["node"].get("_target_") == _MASKABLE:
            mistake = (
                f"embedder: hides tokens of {modality} by a vector of its own, which the published model does not "
                "have; choose embedder=ids and hide them behind a token of its vocabulary, as in "
                "data.arrange.token=[MASK]"
            )
            raise ConfigError([mistake])
