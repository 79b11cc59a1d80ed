"""Where one sample ends and the next begins, and all that rules and biases may know of a token."""

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

T = TypeVar("T")
_OF_GRAPHS = WeakTensorKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """The shape of a packed batch: samples end to end, with the coordinates and edges of their tokens.

    Samples can never attend to each other: every kernel asks the layout first and the rule second, so isolation is not
    a mask that somebody must remember.

    Args:
        lengths: tokens of each sample; zero is legal. Kept on the host, because it steers which kernels run.
        start: index that the first token of each sample has; 0 unless earlier tokens wait in a cache.
        places: index of each token in its sample, where it is not the order in which they lie: keys of a cache that has
            forgotten some.
        positions: coordinates of the tokens, for rotary positions.
        edges: directed edges over the whole pack, from `edges[0]` (source) to `edges[1]` (target): the target attends
            to the source, PyTorch Geometric's direction of messages.
        edge_features: what the edges are, in the order of `edges`.
        prefix: how many leading tokens of each sample `Prefix` lets everybody see.
        modality: which modality each token comes from, as a number, for rules between modalities.
        features: further named features of each token that rules and biases may read.
        pairs: named values for each pair of tokens of a sample, row by row and sample after sample (a flat list of
            square matrices), for example shortest-path distances.
        device: where the index tensors shall lie; that of the other tensors by default.

    Shapes:
        lengths, start, prefix int64 `[samples]`; places, modality int64 `[tokens]`; positions `[tokens, axes]`; edges
        int64 `[2, edges]`; each of pairs `[sum of squared lengths, ...]`. Made from them: offsets int64 `[samples +
        1]`, sample and index int64 `[tokens]` (which sample a token belongs to, and its place in it).

    Raises:
        ValueError: a length is negative, another field does not fit the lengths, or an edge joins two samples.

    Example:
        >>> layout = Layout(lengths=torch.tensor([2, 0, 3]))
        >>> layout.sample.tolist(), layout.index.tolist()
        ([0, 0, 2, 2, 2], [0, 1, 0, 1, 2])
    """

    kernel: ClassVar[str] = "auto"
    """The attention kernel that alone can read such a layout; "auto" where they all can."""

    lengths: Tensor
    start: Tensor | None = None
    places: Tensor | None = None
    positions: Tensor | None = None
    edges: Tensor | None = None
    edge_features: Tensor | None = None
    prefix: Tensor | None = None
    modality: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    pairs: Mapping[str, Tensor] = field(default_factory=dict)
    device: torch.device | str | None = None

    offsets: Tensor = field(init=False)
    sample: Tensor = field(init=False)
    index: Tensor = field(init=False)
    _memo: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        lengths = self.lengths.cpu().long()
        sizes: list[int] = lengths.tolist()  # numbers of the host, as operators on few of them take as long as on many
        if lengths.ndim != 1 or min(sizes, default=0) < 0:
            raise ValueError(f"lengths must be one non-negative number for each sample; received {sizes}")
        n_tokens, n_samples = sum(sizes), len(sizes)
        for name, value, expected in (
            ("positions", self.positions, n_tokens),
            ("places", self.places, n_tokens),
            ("modality", self.modality, n_tokens),
            ("start", self.start, n_samples),
            ("prefix", self.prefix, n_samples),
            ("edge_features", self.edge_features, 0 if self.edges is None else self.edges.shape[1]),
            *((f"features[{name!r}]", value, n_tokens) for name, value in self.features.items()),
            *((f"pairs[{name!r}]", value, sum(n**2 for n in sizes)) for name, value in self.pairs.items()),
        ):
            if value is not None and value.shape[0] != expected:
                raise ValueError(f"{name} has {len(value)} rows; lengths {_brief(lengths)} need {expected}")
        if self.edges is not None:
            _check_edges(self.edges, lengths)
        device = torch.device(self.device) if self.device is not None else self._device_of_fields()
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "device", device)
        self._number(sizes)

    def _number(self, sizes: list[int]) -> None:
        """Says which token is whose."""
        for name, value in zip(("offsets", "sample", "index"), self._numbered(sizes), strict=True):
            object.__setattr__(self, name, value)

    def _numbered(self, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets of the samples, and sample and index of each token, on the device."""
        device, n_tokens = torch.device(self.device or "cpu"), sum(sizes)
        offsets = torch.tensor(list(accumulate(sizes, initial=0)))
        sample = torch.repeat_interleave(torch.arange(len(sizes)), self.lengths, output_size=n_tokens)
        if self.places is not None:
            index = self.places
        elif self.start is not None:
            index = torch.arange(n_tokens) + (self.start.cpu() - offsets[:-1])[sample]
        else:
            index = torch.arange(n_tokens) - offsets[sample]
        return tuple(each.to(device, non_blocking=True) for each in (offsets, sample, index))  # pyright: ignore[reportReturnType]

    def _device_of_fields(self) -> torch.device:
        tensors = (self.positions, self.edges, self.modality, *self.features.values(), *self.pairs.values())
        return next((tensor.device for tensor in tensors if tensor is not None), torch.device("cpu"))

    @classmethod
    def from_lengths(cls, *lengths: int, device: torch.device | str | None = None) -> Self:
        """A layout of samples with nothing but lengths.

        Example:
            >>> Layout.from_lengths(2, 3).n_tokens
            5
        """
        return cls(lengths=torch.tensor(lengths, dtype=torch.long), device=device)

    @classmethod
    def from_padded(cls, valid: Tensor) -> Self:
        """The layout of a padded batch, from a mask that is True where a token takes part.

        The packed tokens of `x [batch, seq, ...]` are `x[valid]`, and `layout.pad(packed)` is the way back.

        Shapes:
            valid bool `[batch, seq]`, True first in each row.

        Raises:
            ValueError: a row has a token after padding; packing would move it.
        """
        lengths = valid.sum(1)
        expected = torch.arange(valid.shape[1], device=valid.device) < lengths[:, None]
        if not torch.equal(valid, expected):
            row = int((valid != expected).any(1).nonzero()[0])
            raise ValueError(
                f"valid must be True first and then False in each row; row {row} is not: {valid[row].tolist()}"
            )
        return cls(lengths=lengths, device=valid.device)

    @property
    def n_tokens(self) -> int:
        """The number of tokens of all samples together."""
        return self.sample.shape[0]

    @property
    def n_samples(self) -> int:
        """The number of samples, empty ones included."""
        return self.lengths.shape[0]

    def __len__(self) -> int:
        """The number of tokens."""
        return self.n_tokens

    def pad(self, packed: Tensor, value: float = 0.0) -> Tensor:
        """The padded form of packed tokens, for code outside that needs it.

        Shapes:
            packed `[tokens, ...]` → `[samples, longest, ...]`.
        """
        longest = int(self.lengths.max()) if self.n_samples else 0
        padded = packed.new_full((self.n_samples, longest, *packed.shape[1:]), value)
        padded[self.sample, torch.arange(self.n_tokens, device=self.device) - self.offsets[self.sample]] = packed
        return padded

    def admit(self, core: nn.Module) -> None:
        """Refuses a core that cannot read such a layout; every core reads packed samples."""

    def view(self, tokens: Tensor | None = None) -> "View":
        """The tokens as rules and biases see them; all of them, or those numbered by `tokens` of any shape."""
        return View(self, torch.arange(self.n_tokens, device=self.device) if tokens is None else tokens)

    def memo(self, name: str, compute: Callable[[], T]) -> T:
        """What `compute` returns, computed once for this layout: facts that several kernels or layers ask for."""
        if name not in self._memo:
            self._memo[name] = compute()
        return self._memo[name]

    def memo_of_graph(self, name: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` returns, computed once for all layouts of these lengths with this very tensor of edges, for as
        long as it lives: what follows from both alone. One graph that comes in every step is lowered once.
        """
        edges = _required(self.edges, "edges")
        if edges.is_inference():  # nobody sees whether such a tensor is changed
            return self.memo(str(name), compute)
        known: Any = _OF_GRAPHS.setdefault(edges, {})
        key = name, tuple(self.lengths.tolist()), edges._version
        if key not in known:
            with lasting():
                known[key] = compute()
        return known[key]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same layout with its tensors on `device`; `lengths` and `start` stay on the host."""
        moved = {
            f.name: _to(getattr(self, f.name), device, non_blocking)
            for f in fields(self)
            if f.init and f.name not in ("lengths", "start")
        }
        return replace(self, **{**moved, "device": device})  # pyright: ignore[reportArgumentType]


class View:
    """Tokens of a layout, of any shape, as one side of a pair: what a rule or a bias may ask about them.

    Views of queries `[.., queries, 1]` and keys `[.., 1, keys]` broadcast against each other, so the same rule serves a
    dense block, a band, a list of edges and a compiler that traces single elements.
    """

    __slots__ = ("layout", "token")

    def __init__(self, layout: Layout, token: Tensor) -> None:
        self.layout = layout
        self.token = token

    @property
    def index(self) -> Tensor:
        """Place of the token in its sample, counted from 0."""
        return self.layout.index[self.token]

    @property
    def sample(self) -> Tensor:
        """Number of the sample that the token belongs to."""
        return self.layout.sample[self.token]

    @property
    def length(self) -> Tensor:
        """Number of tokens of the token's sample."""
        return (self.layout.offsets[1:] - self.layout.offsets[:-1])[self.sample]

    @property
    def prefix(self) -> Tensor:
        """Length of the prefix of the token's sample."""
        return _required(self.layout.prefix, "prefix")[self.sample]

    @property
    def modality(self) -> Tensor:
        """Number of the token's modality."""
        return _required(self.layout.modality, "modality")[self.token]

    def feature(self, name: str) -> Tensor:
        """A named feature of the token."""
        return _required(self.layout.features.get(name), f"features[{name!r}]")[self.token]

    def __getitem__(self, item: object) -> "View":
        """The same view indexed like a tensor, for example `view[:, None]`."""
        return View(self.layout, self.token[item])  # pyright: ignore[reportArgumentType]


def lasting() -> AbstractContextManager[Any]:
    """Where tensors are made that a training may use, although a validation asks for them first."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


def _required(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(
            f"this rule or bias reads the layout's {name}, and the layout has none; give Layout its {name}"
        )
    return value


def _check_edges(edges: Tensor, lengths: Tensor) -> None:
    if edges.ndim != 2 or len(edges) != 2 or edges.is_floating_point():
        raise ValueError(f"edges must be whole numbers [2, edges]; received {edges.dtype} {list(edges.shape)}")
    if edges.device.type != "cpu" or not edges.numel():
        return  # on an accelerator the check would make the host wait; batches are built on the host
    n_tokens = int(lengths.sum())
    outside = (edges < 0) | (edges >= n_tokens)
    if outside.any():
        raise ValueError(f"edges name token {int(edges[outside][0])}; the lengths allow 0 to {n_tokens - 1}")
    sample = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[edges]
    crossing = (sample[0] != sample[1]).nonzero().flatten()
    if len(crossing):
        i = int(crossing[0])
        raise ValueError(
            f"edge {i} joins token {int(edges[0, i])} of sample {int(sample[0, i])} to token {int(edges[1, i])} "
            f"of sample {int(sample[1, i])}; samples cannot attend to each other: add each sample's offset to its edges"
        )


def _to(value: object, device: torch.device | str, non_blocking: bool) -> object:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=non_blocking)
    if isinstance(value, Mapping):
        return {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in value.items()}
    return value


def _brief(lengths: Tensor) -> str:
    shown = lengths[:6].tolist()
    return str(shown) if len(lengths) <= 6 else f"{str(shown)[:-1]}, ...] ({len(lengths)} samples)"
