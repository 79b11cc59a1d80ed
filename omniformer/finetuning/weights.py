"""Which weights of a run learn."""

import logging
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from omniformer.adapters import LoRA, apply_lora
from omniformer.adapters.lora import Updates
from omniformer.quantization import quantize
from omniformer.training.warm_start import Loaded, freeze, trainable

log = logging.getLogger(__name__)


def settle(model: nn.Module, config: Mapping[str, Any], loaded: Loaded | None) -> None:
    """Says which parameters learn: freezes what `model.freeze` names, adapts as `model.lora` says, and rounds what then
    stays as it is as `model.weights` says (QLoRA, [Dettmers et al. 2023](https://arxiv.org/abs/2305.14314)).

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
    if keys.get("weights"):
        quantize(model, keys["weights"], keep={name for name, each in model.named_parameters() if each.requires_grad})
