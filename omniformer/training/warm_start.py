"""Beginning from weights that were trained before, and keeping some of them as they are."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn

from omniformer.config.errors import nearest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What became of the weights of a saved model.

    Args:
        loaded: names of weights that were taken over.
        missing: names of the model's weights that the saved one does not have; they keep their fresh values.
        unexpected: names of saved weights that the model has no place for.
        mismatched: names of weights whose shapes differ; they keep their fresh values.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    def __str__(self) -> str:
        """The counts, and the first names of each kind, in one line."""
        kinds = {"fresh": self.missing, "left out": self.unexpected, "of another shape": self.mismatched}
        rest = "; ".join(f"{len(names)} {kind} ({_brief(names)})" for kind, names in kinds.items() if names)
        return f"{len(self.loaded)} weights taken over" + (f"; {rest}" if rest else "")


def load_weights(model: nn.Module, saved: Mapping[str, Tensor]) -> Loaded:
    """Takes over every saved weight that the model has under the same name and in the same shape.

    Args:
        model: receives the weights.
        saved: by name, as from `state_dict`.

    Raises:
        ValueError: not a single weight fits.

    Example:
        >>> small, large = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
        >>> print(load_weights(large, small.state_dict()))
        2 weights taken over; 2 fresh (1.weight, 1.bias)
    """
    own = model.state_dict()
    fitting = {name: value for name, value in saved.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise ValueError(
            f"none of the {len(saved)} saved weights fits this model; saved are {_brief(tuple(saved))}, the model has "
            f"{_brief(tuple(own))}: choose the same core, or train from fresh weights with model.pretrained=null"
        )
    model.load_state_dict(fitting, strict=False)
    return Loaded(
        loaded=tuple(fitting),
        missing=tuple(name for name in own if name not in saved),
        unexpected=tuple(name for name in saved if name not in own),
        mismatched=tuple(name for name in saved if name in own and name not in fitting),
    )


def freeze(model: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Keeps parameters as they are: no gradient, and no dropout in modules that are frozen whole.

    Args:
        model: whose parameters.
        patterns: shell patterns of parameter names, in order; one that begins with `!` thaws again, as in
            `["core.*", "!core.blocks.*.cross*"]`.

    Returns:
        The names of the frozen parameters.

    Raises:
        ValueError: a pattern matches no parameter, or nothing is left to train.

    Example:
        >>> freeze(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ["*", "!1.*"])
        ('0.weight', '0.bias')
    """
    # A tied table has several names; freezing it under one of them freezes it.
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    frozen: dict[str, bool] = dict.fromkeys(names, False)
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern.removeprefix("!"))]
        if not matching:
            near = nearest(pattern.removeprefix("!"), names)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"freeze: {pattern!r} matches no parameter of this model{hint} It has {_brief(names)}")
        frozen.update(dict.fromkeys(matching, not pattern.startswith("!")))
    chosen = tuple(name for name in names if frozen[name])
    if chosen and len(chosen) == len(names):
        raise ValueError(f"freeze={list(patterns)} leaves no parameter to train")
    kept = {id(model.get_parameter(name)) for name in chosen}
    for parameter in model.parameters():
        if id(parameter) in kept:
            parameter.requires_grad_(False)
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
    return chosen


def trainable(model: nn.Module) -> int:
    """How many numbers of a model training may change."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _brief(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
