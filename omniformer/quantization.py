"""Weights of 16, 8 or 4 bits: a model that takes less memory, and is read faster where memory is what bounds it."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core.moe import MixtureOfExperts
from omniformer.few_rows import FewRowsLinear

log = logging.getLogger(__name__)

Weights = Literal["bf16", "int8", "int4"]
# Columns of a row that share a scale and an offset, in 4 bits: the least that torch's product knows.
_GROUP = 32
# Maps with fewer numbers stay as they are: there is nothing to win, and heads with few classes are among them.
_LEAST = 1 << 12
# With more tokens than this, a product with the weight in floating point is faster (AMD EPYC, AVX2, one thread).
_FEW_ROWS = 32


class Codes(nn.Module, ABC):
    """A weight as whole numbers and their scales, which move with a model from device to device and keep their type.

    Args:
        numbers: the whole numbers.
        scales: what they are multiplied by, rounded to bfloat16 before the numbers were.
        shape: of the weight, `[rows, columns]`.
        dtype: of the weight, and of what it makes.
    """

    def __init__(self, numbers: Tensor, scales: Tensor, shape: torch.Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers)
        self.register_buffer("scales", scales)
        self.numbers: Tensor
        self.scales: Tensor
        self.rows, self.columns = shape
        self.dtype = dtype

    @abstractmethod
    def dequantized(self) -> Tensor:
        """The weight that the numbers stand for, `[rows, columns]`."""

    @abstractmethod
    def product(self, x: Tensor) -> Tensor | None:
        """`x` times the transposed weight by torch's kernel, which reads and writes bfloat16; None where it has none
        for this machine.

        Shapes:
            `[tokens, columns]` → bfloat16 `[tokens, rows]`.
        """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `half` and their like call: a type that they ask for is that of the weight, not of its codes."""
        asked = fn(torch.empty(0, dtype=self.dtype, device=self.numbers.device))
        self.dtype = asked.dtype
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = buffer.to(asked.device)
        return self


class Int8(Codes):
    """One scale for each row, and numbers from -127 to 127.

    Example:
        >>> weight = torch.tensor([[0.5, -1.0], [0.0, 4.0]])
        >>> bool((Int8(weight).dequantized() - weight).abs().max() < 0.02)
        True
    """

    def __init__(self, weight: Tensor) -> None:
        scales = (weight.float().abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny).bfloat16()
        numbers = (weight.float() / scales[:, None].float()).round().clamp(-127, 127).to(torch.int8)
        super().__init__(numbers, scales, weight.shape, weight.dtype)

    def dequantized(self) -> Tensor:
        """The weight that the numbers stand for."""
        return self.numbers.float().mul_(self.scales[:, None]).to(self.dtype)  # one copy of the weight and no more

    def taken(self, ids: Tensor) -> Tensor:
        """Some rows of it, as a table of ids is read."""
        numbers, scales = F.embedding(ids, self.numbers), F.embedding(ids, self.scales.unsqueeze(1))
        return (numbers.float() * scales).to(self.dtype)

    def product(self, x: Tensor) -> Tensor | None:
        """By torch's kernel on the host."""
        # It reads 16 numbers at a time, beyond the end of rows that are no multiple of that.
        if not x.is_cpu or self.columns % 16:
            return None
        own: Any = self._buffers  # a module's look-up by name fails once first, here for each map of each token written
        product: Any = torch._weight_int8pack_mm  # pyright: ignore[reportPrivateImportUsage]
        return product(x.bfloat16(), own["numbers"], own["scales"])


class Int4(Codes):
    """A scale and an offset for each 32 columns of a row, and numbers from 0 to 15, two in a byte.

    The bytes lie as torch's kernel on this machine reads them: columns after each other for `block` rows at a time,
    the first half of which are the low halves of bytes. `block` travels with the weight, so that another machine
    reads it rightly, if slower.

    Raises:
        ValueError: rows are no multiple of 64, or columns none of 32.

    Example:
        >>> weight = torch.linspace(-1, 1, 64 * 32).view(64, 32)
        >>> bool((Int4(weight).dequantized() - weight).abs().max() < 0.01)
        True
    """

    def __init__(self, weight: Tensor) -> None:
        if not Int4.fits(weight):
            raise ValueError(
                f"a weight {list(weight.shape)} needs rows in multiples of 64, columns in those of {_GROUP}"
            )
        groups = weight.float().unflatten(1, (-1, _GROUP))
        least, most = groups.amin(-1), groups.amax(-1)
        scale = ((most - least) / 15).clamp_min(torch.finfo(torch.float32).tiny).bfloat16()
        zero = (least + 8 * scale.float()).bfloat16()
        numbers = ((groups - zero.float()[..., None]) / scale.float()[..., None]).round().clamp(-8, 7) + 8
        block = _block() or 32
        packed = _packed(numbers.flatten(1).to(torch.uint8), block)
        super().__init__(packed, torch.stack([scale.T, zero.T], dim=-1).contiguous(), weight.shape, weight.dtype)
        self.register_buffer("block", torch.tensor(block))
        self.block: Tensor

    @staticmethod
    def fits(weight: Tensor) -> bool:
        """Whether a weight can be kept so."""
        return weight.shape[0] % 64 == 0 and weight.shape[1] % _GROUP == 0

    def dequantized(self) -> Tensor:
        """The weight that the numbers stand for."""
        numbers = _unpacked(self.numbers, int(self.block)).unflatten(1, (-1, _GROUP)).float()
        scale, zero = self.scales.float().unbind(-1)
        return numbers.sub_(8).mul_(scale.T[..., None]).add_(zero.T[..., None]).flatten(1).to(self.dtype)

    def product(self, x: Tensor) -> Tensor | None:
        """By torch's kernel on the host, where the bytes lie as it reads them."""
        if x.device.type != "cpu" or int(self.block) != _block():
            return None
        return torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16(), self.numbers, _GROUP, self.scales)


class QuantizedLinear(nn.Linear):
    """A linear map whose weight is `codes`; `quantize` makes it of an ordinary one, which keeps its hooks and adapters.

    Where gradients are asked for, and for many tokens at once, it multiplies by `weight`, which is computed anew each
    time and kept by nobody, so that what is learned around it is exact for the rounded weight.
    """

    codes: Codes

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The weight that the codes stand for, in a new tensor."""
        return self.codes.dequantized()

    def forward(self, x: Tensor) -> Tensor:
        """The map of `[..., columns]`."""
        codes, bias, out = self.codes, self.bias, None
        if torch.is_grad_enabled():
            out = _Exact.apply(x, codes)
        elif 0 < x.numel() <= _FEW_ROWS * codes.columns:
            out = codes.product(x if x.ndim == 2 else x.reshape(-1, codes.columns))
            out = out if out is None or x.ndim == 2 else out.view(*x.shape[:-1], codes.rows)
        if out is None:
            out = F.linear(x, codes.dequantized().to(x.dtype))
        out = out if bias is None else out + bias
        return out if out.dtype == x.dtype else out.to(x.dtype)


class QuantizedEmbedding(nn.Embedding):
    """A table of ids whose rows are `codes`; `quantize` makes it of an ordinary one."""

    codes: Int8

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The table that the codes stand for, in a new tensor."""
        return self.codes.dequantized()

    def forward(self, input: Tensor) -> Tensor:
        """The rows of ids."""
        return self.codes.taken(input)


class _Exact(torch.autograd.Function):
    """A product that remembers the codes for its backward pass, not the weight, which is as large as it was."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Codes) -> Tensor:
        ctx.codes, ctx.dtype = codes, x.dtype
        return F.linear(x, codes.dequantized().to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        return (grad @ ctx.codes.dequantized().to(grad.dtype)).to(ctx.dtype), None


_PLAIN: dict[type[nn.Module], type[nn.Module]] = {QuantizedLinear: nn.Linear, QuantizedEmbedding: nn.Embedding}
_QUANTIZED = {plain: quantized for quantized, plain in _PLAIN.items()} | {FewRowsLinear: QuantizedLinear}


@torch.no_grad()
def quantize(model: nn.Module, weights: Weights, *, keep: Collection[str] = ()) -> None:
    """Rounds the weights of a model, in place.

    "bf16" casts all of it. "int8" and "int4" round linear maps and tables of ids, all else stays as it is: norms,
    offsets, routers, convolutions, maps of fewer than 4,096 numbers, and experts, which are no linear maps; a warning
    says so where that is more than a tenth of the model. Under "int4", tables of ids, output maps that are one with
    them, and maps whose sizes do not fit have 8 bits.

    Args:
        model: changed in place.
        weights: the kind.
        keep: names of parameters that stay as they are, such as those that learn.

    Raises:
        ValueError: there is no such kind, the model is quantized already, or a weight is not finite; names it.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 64, bias=False))
        >>> quantize(model, "int4")
        >>> sum(each.nbytes for each in model.buffers()) < 64 * 64
        True
    """
    if weights not in get_args(Weights):
        raise ValueError(f"weights={weights!r} is unknown; choose {', '.join(get_args(Weights))}")
    if is_quantized(model):
        raise ValueError("this model is quantized already; load it anew, or call dequantize first")
    if weights == "bf16":
        model.to(torch.bfloat16)
        return
    taken, left = _chosen(model, keep)
    for parameter, owners in taken:
        codes = _codes(parameter, owners, weights)
        for _, module in owners:
            del module._parameters["weight"]
            module.__class__ = _QUANTIZED[type(module)]  # in its place, so that hooks and adapters stay
            module.codes = codes
    _tell_left(model, left, weights)


@torch.no_grad()
def dequantize(model: nn.Module) -> None:
    """Makes ordinary weights of rounded ones, in place: the numbers that the codes stand for. They do not learn until
    they are told to.

    Raises:
        ValueError: nothing is quantized.
    """
    if not is_quantized(model):
        raise ValueError("this model is not quantized")
    made: dict[Codes, nn.Parameter] = {}
    for module in list(model.modules()):
        rounded: Any = module
        if isinstance(module, QuantizedLinear | QuantizedEmbedding):
            codes = module.codes
            if codes not in made:
                made[codes] = nn.Parameter(codes.dequantized(), requires_grad=False)
            rounded.__class__ = _PLAIN[type(module)]
            del rounded.codes
            rounded.weight = made[codes]


def is_quantized(model: nn.Module) -> bool:
    """Whether weights of a model are whole numbers."""
    return any(isinstance(each, Codes) for each in model.modules())


def n_rounded(model: nn.Module) -> int:
    """How many numbers of a model are whole numbers, and so no parameters."""
    return sum(each.rows * each.columns for each in model.modules() if isinstance(each, Codes))


def refuse_quantized(model: nn.Module) -> None:
    """Refuses what needs the weights themselves, such as to write them.

    Raises:
        ValueError: the model is quantized.
    """
    if is_quantized(model):
        raise ValueError(
            "the weights of this model are rounded to whole numbers; take the folder that it was loaded from, or call "
            "omniformer.quantization.dequantize(model) first, which keeps the rounded values"
        )


_Owners = list[tuple[str, nn.Module]]


def _tell_left(model: nn.Module, left: Mapping[str, nn.Parameter], weights: Weights) -> None:
    """Names what stays as it is although it is large."""
    most, every = sum(each.numel() for each in left.values()), sum(each.numel() for each in model.parameters())
    share = most / (every + n_rounded(model))
    if share > 0.1:
        named = f"{', '.join(list(left)[:3])}{f' and {len(left) - 3} more' if len(left) > 3 else ''}"
        log.warning("weights=%s leaves %.0f %% of the numbers as they are: %s", weights, 100 * share, named)


def _chosen(
    model: nn.Module, keep: Collection[str]
) -> tuple[list[tuple[nn.Parameter, _Owners]], dict[str, nn.Parameter]]:
    """Weights to round with the modules that they belong to, and by name those that are no such maps."""
    routers = {id(each.router) for each in model.modules() if isinstance(each, MixtureOfExperts)}
    owners: dict[nn.Parameter, list[tuple[str, nn.Module, str]]] = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners.setdefault(parameter, []).append((path, module, name))
    taken: list[tuple[nn.Parameter, _Owners]] = []
    left: dict[str, nn.Parameter] = {}
    for parameter, mine in owners.items():
        names = [f"{path}.{name}" if path else name for path, _, name in mine]
        if parameter.dim() < 2 or parameter.numel() < _LEAST or any(name in keep for name in names):
            continue
        if any(id(module) in routers for _, module, _ in mine):
            continue
        if all(type(module) in _QUANTIZED and name == "weight" for _, module, name in mine):
            taken.append((parameter, [(path, module) for path, module, _ in mine]))
        else:
            left[names[0]] = parameter
    return taken, left


def _codes(parameter: nn.Parameter, owners: _Owners, weights: Weights) -> Codes:
    if not bool(parameter.isfinite().all()):
        raise ValueError(f"{owners[0][0]}.weight holds numbers that are not finite, which cannot be rounded")
    is_table = any(isinstance(module, nn.Embedding) for _, module in owners)
    weight = parameter.contiguous()  # codes lie row by row, also where the weight does not (`omniformer.columns`)
    return Int8(weight) if weights == "int8" or is_table or not Int4.fits(weight) else Int4(weight)


def _packed(numbers: Tensor, block: int) -> Tensor:
    """Numbers from 0 to 15, `[rows, columns]`, two in a byte, `[rows, columns / 2]`."""
    low, high = numbers.unflatten(0, (-1, 2, block // 2)).unbind(1)
    return (low | high << 4).transpose(1, 2).reshape(len(numbers), -1).contiguous()


def _unpacked(packed: Tensor, block: int) -> Tensor:
    """The numbers again."""
    rows, columns = packed.shape[0], 2 * packed.shape[1]
    both = packed.view(rows // block, columns, block // 2).transpose(1, 2)
    return torch.stack([both & 15, both >> 4], dim=1).reshape(rows, columns)


@cache
def _block() -> int:
    """How many rows torch's kernel on this machine reads side by side; 0 where it reads in another order."""
    probe = torch.arange(64 * _GROUP).view(64, _GROUP) * 7 % 11
    theirs = torch.ops.aten._convert_weight_to_int4pack_for_cpu(probe.int(), 1)
    return next((each for each in (64, 32) if torch.equal(_packed(probe.to(torch.uint8), each), theirs)), 0)
