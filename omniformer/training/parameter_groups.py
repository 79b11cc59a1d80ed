"""Which parameters are decayed, which are hidden matrices, and how deep they lie."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_TABLES = ("table", "tokens")  # what bare parameters are called that are looked up or added, not multiplied
_BLOCK = re.compile(r"^(|.*?\.)(?:blocks|layers)\.(\d+)\.")
_MODEL = "model."  # how the module that trains calls the model


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Described:
    """One trainable parameter and what an optimizer wants to know of it.

    Args:
        name: as in `named_parameters`.
        parameter: the parameter.
        decayed: whether weight decay makes sense for it: it is a matrix that multiplies activations. Biases, norms,
            other vectors and tables that are looked up (embeddings, positions) are not.
        hidden: whether it is a plain matrix between hidden activations, as Muon wants it.
        depth: 0 for what comes before the blocks, 1 for the first block, ..., one more than blocks for what follows.
            Where there are several stacks (encoder and decoder, towers), the last blocks of all of them are equally
            deep: each is one step below a head, or read by the block that is.
        width: features of the stream that a matrix reads: `d_model` of the stack that it belongs to, of the widest one
            for a head, whose table may be tied to an embedder's. None for what is no matrix, and for embedders, whose
            inputs are as wide in models of all sizes.
    """

    name: str
    parameter: nn.Parameter
    decayed: bool
    hidden: bool
    depth: int
    width: int | None


def describe(model: nn.Module, *, outside: Sequence[str] = ()) -> list[Described]:
    """All trainable parameters of a model, each once, also when modules share it.

    Tables that are bare `nn.Parameter`s are known by their names, `table` and `tokens`; a module with one of another
    name lists it in a class attribute `no_weight_decay`.

    Args:
        model: the model.
        outside: names of submodules (anywhere in the path) whose matrices are not hidden: embedders and heads.

    Raises:
        ValueError: the model has nothing to train.

    Example:
        >>> [(d.name, d.decayed) for d in describe(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)))]
        [('0.weight', False), ('1.weight', True), ('1.bias', False)]
    """
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    widths: dict[int, int] = {}
    stream = _Streams(model)
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((module, name))
            if _is_matrix(parameter) and not _is_table(module, name) and (width := stream.width(path)) is not None:
                widths[id(parameter)] = width
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not named:
        raise ValueError(f"{type(model).__name__} has no parameter that requires a gradient: there is nothing to train")
    heights: dict[str, int] = {}
    for name, _ in named:
        if match := _BLOCK.search(name):
            heights[match[1]] = max(heights.get(match[1], 0), int(match[2]) + 1)
    return [
        Described(
            name=name,
            parameter=parameter,
            decayed=(
                decayed := _is_matrix(parameter) and not any(_is_table(*owner) for owner in owners[id(parameter)])
            ),
            hidden=decayed and parameter.ndim == 2 and not set(name.split(".")) & set(outside),
            depth=_depth(name, heights),
            width=widths.get(id(parameter)),
        )
        for name, parameter in named
    ]


def groups(
    described: Sequence[Described],
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float,
    top: int | None = None,
    lr_of: Mapping[str, float] | None = None,
    base_width: int | None = None,
    width_power: float = 1.0,
) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimizer: one for each rate and decay that occurs.

    Args:
        described: the parameters.
        lr: rate of the deepest ones.
        weight_decay: of those that are decayed.
        layer_decay: factor on the rate for each step of depth down from the top (BEiT,
            https://arxiv.org/abs/2106.08254); 1 for none.
        top: the depth that gets `lr` itself; that of the deepest of `described` by default.
        lr_of: rates in the place of `lr`, by shell pattern of names (ULMFiT, https://arxiv.org/abs/1801.06146, 3.2);
            the last pattern that fits counts, and `layer_decay` holds for them too.
        base_width: the width at which the rates were found; matrices that read a stream of another width get
            `(base_width / width) ** width_power` of them (muP, https://arxiv.org/abs/2203.03466). None changes nothing.
        width_power: 1 for Adam, whose updates grow with the number of inputs; 1/2 for orthogonal updates of that size.
    """
    top = max((item.depth for item in described), default=0) if top is None else top
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for item in described:
        fitting = [rate for pattern, rate in (lr_of or {}).items() if _fits(item.name, pattern)]
        rate = (fitting[-1] if fitting else lr) * layer_decay ** (top - item.depth)
        if base_width is not None and item.width is not None:
            rate *= (base_width / item.width) ** width_power
        found.setdefault((rate, weight_decay if item.decayed else 0.0), []).append(item.parameter)
    return [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in found.items()]


def check_patterns(described: Sequence[Described], lr_of: Mapping[str, float]) -> None:
    """Refuses rates that would be nobody's.

    Raises:
        ValueError: a pattern fits no trainable parameter, or a rate is not above 0.
    """
    for pattern, rate in lr_of.items():
        if not rate > 0:
            raise ValueError(f"lr_of[{pattern!r}]={rate} must be above 0; model.freeze keeps parameters as they are")
        if not any(_fits(item.name, pattern) for item in described):
            names = ", ".join(item.name.removeprefix(_MODEL) for item in described[:3])
            raise ValueError(f"lr_of: {pattern!r} fits no parameter that is trained; they are {names}, ...")


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name.removeprefix(_MODEL), pattern)


def _is_matrix(parameter: Tensor) -> bool:
    """More than one axis longer than 1: a `[1, 1, d_model]` class token is a vector."""
    return sum(size > 1 for size in parameter.shape) > 1


def _is_table(module: nn.Module, name: str) -> bool:
    norm = isinstance(module, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm)
    return isinstance(module, _EMBEDDINGS) or norm or name in (*_TABLES, *getattr(module, "no_weight_decay", ()))


def _depth(name: str, heights: Mapping[str, int]) -> int:
    """Steps from the embedders; `heights` says how many blocks the stack of each path has."""
    most = max(heights.values(), default=0)
    if match := _BLOCK.search(name):
        return most - heights[match[1]] + int(match[2]) + 1
    return 0 if _is_before_blocks(name.split(".")) else most + 1


class _Streams:
    """How wide the streams are that the modules of a model read.

    Args:
        model: with a `d_model` at its stacks.
    """

    def __init__(self, model: nn.Module) -> None:
        found = {path: getattr(module, "d_model", None) for path, module in model.named_modules()}
        self._widths = {
            path: width
            for path, width in found.items()
            if isinstance(width, int) and not _is_before_blocks(path.split("."))
        }

    def width(self, path: str) -> int | None:
        """That of the innermost stack around a module, of the widest one for a module outside of all; None for what
        comes before them.
        """
        if _is_before_blocks(path.split(".")):
            return None
        around = [stack for stack in self._widths if not stack or f"{path}.".startswith(f"{stack}.")]
        return self._widths[max(around, key=len)] if around else max(self._widths.values(), default=None)


def _is_before_blocks(path: Sequence[str]) -> bool:
    return any(part.startswith(("embed", "position")) for part in path)
