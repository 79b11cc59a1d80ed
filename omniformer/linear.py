"""Linear models of fixed features: what a representation tells without any further learning in depth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["label", "labels", "value"]

# How strongly weights are held back, from much to little, in units in which features have a spread of one.
STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
_MOST_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """One linear map of features.

    Shapes:
        weight float32 `[outputs, features]`, bias `[outputs]`.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Logits or numbers `[samples, outputs]` of features `[samples, features]`."""
        return F.linear(x, self.weight, self.bias)


def fit(
    x: Tensor,
    targets: Tensor,
    kind: Kind,
    n_outputs: int,
    *,
    better: Callable[[Linear], float | tuple[float, ...]],
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[Linear, float]:
    """The linear model with the least penalised loss: logistic regression for classes and questions, by L-BFGS; ridge
    regression for numbers, in closed form. Of several strengths of the penalty the one that validates best is kept.

    Args:
        x: features of the training samples; they are standardised here, and the map is given back in their own units.
        targets: classes, answers to questions with NaN where there is none, or numbers with NaN likewise.
        kind: which of these.
        n_outputs: how many classes, questions or numbers.
        better: how good a map is on other samples, more being better, of several numbers the first that differs; of
            equal ones the strongest penalty is kept.
        strengths: of the penalty, tried in this order.

    Returns:
        The map, and the strength of its penalty.

    Shapes:
        x float32 `[samples, features]`; targets int64 `[samples]`, or float32 `[samples, outputs]`.

    Example:
        >>> x, label = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> model, _ = fit(x, label, "label", 2, better=lambda model: 0.0)
        >>> model(x).argmax(-1).tolist()
        [0, 0, 1, 1]
    """
    mean, scale = x.mean(0), x.std(0, correction=0)
    scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
    standard = (x - mean) / scale
    found: list[tuple[Any, Linear, float]] = []
    parameters = torch.zeros(n_outputs, x.shape[1] + 1)
    for strength in strengths:
        parameters = (_ridge if kind == "value" else _logistic)(standard, targets, kind, strength, parameters)
        weight = parameters[:, :-1] / scale
        model = Linear(weight=weight, bias=parameters[:, -1] - weight @ mean)
        found.append((better(model), model, strength))
    _, best, strength = max(found, key=lambda each: each[0])  # the first of equals
    return best, strength


def _logistic(x: Tensor, targets: Tensor, kind: Kind, strength: float, start: Tensor) -> Tensor:
    """Weights and offsets `[outputs, features + 1]`, from those of the last strength on."""
    parameters = start.clone().requires_grad_(True)
    known = None if kind == "label" else ~targets.isnan()
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=_MOST_STEPS, tolerance_change=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = F.linear(x, parameters[:, :-1], parameters[:, -1])
        if known is None:
            value = F.cross_entropy(logits, targets)
        else:
            value = F.binary_cross_entropy_with_logits(logits[known], targets[known])
        value = value + strength / 2 * parameters[:, :-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    return parameters.detach()


def _ridge(x: Tensor, targets: Tensor, kind: Kind, strength: float, start: Tensor) -> Tensor:
    """The same of numbers, of each by the samples that know it; those that the same samples know are solved at once."""
    values = targets.reshape(len(targets), -1)
    found = torch.zeros(values.shape[1], x.shape[1] + 1)
    patterns, which = (~values.isnan()).T.unique(dim=0, return_inverse=True)
    for i, known in enumerate(patterns):
        if not known.any():
            continue  # nobody knows these: they stay at zero
        own, wanted = x[known].double(), values[known][:, which == i].double()
        centre, middle = own.mean(0), wanted.mean(0)
        gram = (own - centre).T @ (own - centre)
        gram.diagonal().add_(strength * len(own))
        weight = torch.linalg.solve(gram, (own - centre).T @ (wanted - middle))
        found[which == i] = torch.cat([weight.T, (middle - centre @ weight)[:, None]], 1).float()
    return found
