"""A whole model, core and all that belongs to it, built on the meta device from plain values."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from omniformer.config import BuildError, build
from omniformer.core.ties import tie


def build_on_meta(config: Mapping[str, Any]) -> nn.ModuleDict:
    """The core and the other parts of a model by name, without memory for any weight.

    Args:
        config: `core`, `parts` and `ties` as in `Settings`. A part that leaves out `d_model` gets the core's.

    Raises:
        BuildError: a part refused its values, or a tie names no weight, or two of different shapes.

    Example:
        >>> linear = {"_target_": "torch.nn.Linear", "in_features": 2}
        >>> whole = build_on_meta({
        ...     "core": {**linear, "out_features": 3},
        ...     "parts": {"head": {**linear, "out_features": 3}},
        ...     "ties": {"head.weight": "core.weight"},
        ... })
        >>> sum(weight.numel() for weight in whole.parameters())
        12
    """
    with torch.device("meta"):
        core = build(config["core"], "core")
        facts = {"d_model": core.d_model} if hasattr(core, "d_model") else {}
        parts = {
            name: build(node, f"parts.{name}", **({} if "d_model" in node else facts))
            for name, node in (config.get("parts") or {}).items()
        }
    whole = nn.ModuleDict({"core": core, **parts}).to("meta")
    for taken, given in (config.get("ties") or {}).items():
        try:
            tie(whole, taken, given)
        except ValueError as error:
            raise BuildError(str(error)) from None
    return whole
