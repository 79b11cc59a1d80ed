"""The weights of a run: those that it takes over, and which of them learn."""

import logging
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from omniformer.adapters import LoRA, apply_lora
from omniformer.adapters.lora import Updates
from omniformer.data.module import OmniDataModule
from omniformer.finetuning.begin import Beginning
from omniformer.finetuning.recipe import same_kind
from omniformer.recipe import Node
from omniformer.training.warm_start import Loaded, freeze, load_weights, trainable

log = logging.getLogger(__name__)

_UNITS = (".target_mean", ".target_std")


def fill(model: nn.Module, made: Node, beginning: Beginning) -> Loaded:
    """Takes the weights over, those of a published head by the member whose head is of its kind.

    Raises:
        ValueError: nothing fits; or the core of a published model is of another shape, as `model.core` asks for.
    """
    state = beginning.predictor.model.state_dict()
    if not beginning.published:
        # The units of numbers are those of the data at hand, which may lie elsewhere.
        loaded = load_weights(model, {name: value for name, value in state.items() if not name.endswith(_UNITS)})
        rank_zero_info(f"{beginning.source}: {loaded}")
        return loaded
    renamed = {name: tensor for name, tensor in state.items() if not name.startswith("heads.")}
    for name, head in made["heads"].items():
        if (theirs := same_kind(head["node"], beginning.recipe)) is not None:
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
