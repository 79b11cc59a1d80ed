"""Which weights of a run learn."""

import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from omniformer.adapters import LoRA, apply_lora
from omniformer.adapters.lora import Updates
from omniformer.quantization import quantize
from omniformer.training.warm_start import Loaded, freeze, trainable

log = logging.getLogger(__name__)
_FAST = 4e-4  # from here on rates are those of fresh weights (`prepare` has this one for classes of texts); published
# recipes for whole models end at 3e-4


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


def check_rate(model: nn.Module, config: Mapping[str, Any], source: str) -> None:
    """Warns where weights of a published core learn as fast as fresh ones, which makes a run forget more than it
    learns; adapters may.

    Args:
        model: with what is frozen.
        config: the configuration of the run.
        source: the published model, for the message.
    """
    optim = config.get("optim") or {}
    if not optim.get("lr") or (config.get("model") or {}).get("lora"):
        return
    rates = []
    for name, parameter in model.named_parameters():
        if name.startswith("core.") and parameter.requires_grad:
            fitting = [rate for pattern, rate in (optim.get("lr_of") or {}).items() if fnmatchcase(name, pattern)]
            rates.append([optim["lr"], *fitting][-1])
    if rates and max(rates) >= _FAST:
        log.warning(
            "%s: its core learns at a rate of %g, which is one for fresh weights and makes it forget; set optim=adamw "
            "optim.lr=1e-4, or 'optim.lr_of={core.*: 1e-4}'",
            *(source, max(rates)),
        )
