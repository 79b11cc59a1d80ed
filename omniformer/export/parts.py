"""Parts in a form that a tracer can follow, and those that have none."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from omniformer_tokenizers import Packed
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core.connection import AdaptiveNorm
from omniformer.core.frequencies import Frequencies
from omniformer.core.graph_biases import EdgeBias, ShortestPath
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.positions import Learned, Position
from omniformer.core.rules import Global, Modalities, Neighbours, RandomBlocks, Rule
from omniformer.core.towers import Towers
from omniformer.core.transformer import Transformer
from omniformer.embedders import ConvStem, NodeEmbedder
from omniformer.heads import DenoisingHead
from omniformer.model import OmniFormer

VALID = "valid"
"""Which fact of padded tokens says which places of its rows hold a token: bool `[batch, seq]`."""


class Numbers(nn.Module):
    """`Frequencies` as plain float32 numbers, which formats know that have no way to read bits.

    Args:
        frequencies: what it stands for.

    Example:
        >>> Numbers(Frequencies(torch.tensor([0.5])))().tolist()
        [0.5]
    """

    def __init__(self, frequencies: Frequencies) -> None:
        super().__init__()
        self.register_buffer("numbers", frequencies(), persistent=False)
        self.numbers: Tensor

    def forward(self) -> Tensor:
        """The numbers."""
        return self.numbers


class Places(Position):
    """`Learned` positions, looked up by whole numbers and read between them without asking which it is.

    Coordinates on the grid and between its places give what `Learned` gives. Beyond it there is no row to look up,
    which whoever runs the program reports.

    Args:
        learned: what it stands for.

    Example:
        >>> learned = Learned(d_model=4, sizes=[3, 3])
        >>> at = torch.tensor([[0.0, 2.0], [0.5, 1.0]])
        >>> torch.equal(Places(learned)(at)[0], learned.table[0, 2])
        True
    """

    def __init__(self, learned: Learned) -> None:
        super().__init__(d_model=learned.d_model, n_axes=learned.n_axes)
        self.table, self.sizes, self.first, self.coordinates = (
            learned.table,
            learned.sizes,
            learned.first,
            learned.coordinates,
        )

    def encode(self, positions: Tensor) -> Tensor:
        """The vectors at the coordinates."""
        if self.coordinates == "unit":
            last = torch.tensor(self.sizes, device=positions.device) - 1
            # Half a place beyond the border, where unit coordinates may fall, the border's vector holds.
            place = (positions.double() * (last + 1) - 0.5).clamp(min=0).minimum(last)
        else:
            place = positions.double() + self.first
        low = place.floor()
        share = (place - low).to(self.table.dtype)
        low, up = low.long(), (share > 0).long()
        total = torch.zeros((), device=positions.device)
        for corner in range(2**self.n_axes):
            raised = torch.tensor([corner >> axis & 1 for axis in range(self.n_axes)], device=positions.device)
            weight = torch.where(raised.bool(), share, 1 - share).prod(-1, keepdim=True)
            total = total + weight * self.table[tuple((low + up * raised).unbind(-1))]
        return total


class PaddedStem(nn.Module):
    """`ConvStem` over the rows of a padded batch, each a sound by itself.

    Args:
        stem: what it stands for.

    Example:
        >>> from omniformer_tokenizers import Packed
        >>> stem, valid = ConvStem(d_model=8, features=6), torch.tensor([[True, True], [True, False]])
        >>> fields = {"positions": torch.zeros(4, 1), "modality": "audio", "lengths": valid.sum(1)}
        >>> PaddedStem(stem)(Packed(values=torch.zeros(4, 6), facts={VALID: valid}, **fields)).shape
        torch.Size([4, 8])
    """

    def __init__(self, stem: ConvStem) -> None:
        super().__init__()
        self.first, self.second, self.position = stem.first, stem.second, stem.position
        self.n_features = 2 * stem.first.in_channels

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all places, for rows whose padding is zero."""
        valid = packed.facts[VALID]
        frames = rearrange(
            packed.values.unflatten(0, valid.shape), "batch seq (frames bands) -> batch bands (seq frames)", frames=2
        )
        # What the first convolution says of padding is no silence.
        heard = F.gelu(self.first(frames)) * valid.repeat_interleave(2, dim=1)[:, None].to(frames.dtype)
        x = rearrange(F.gelu(self.second(heard)), "batch d_model seq -> (batch seq) d_model")
        return x if self.position is None else x + self.position(packed.positions).to(x.dtype)


class EveryExpert(nn.Module):
    """`MixtureOfExperts` with every expert computed for every token and those chosen kept: as many operations whatever
    is chosen, so that nothing depends on data but numbers.

    Args:
        experts: what it stands for.

    Example:
        >>> experts = MixtureOfExperts(8, n_experts=4)
        >>> x = torch.randn(3, 8)
        >>> torch.allclose(EveryExpert(experts)(x), experts(x), atol=1e-6)
        True
    """

    def __init__(self, experts: MixtureOfExperts) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, x: Tensor, context: object = None) -> Tensor:
        """Maps each token `[tokens, d_model]` by the experts of its choice."""
        own = self.experts
        logits = F.linear(x.float(), own.router.weight.float())
        weights, chosen = logits.topk(own.top_k, dim=-1)
        shares = torch.zeros_like(logits).scatter(1, chosen, weights.softmax(-1)).to(x.dtype)
        gate, up = torch.einsum("td,efd->etf", x, own.gate_up).chunk(2, dim=-1)
        outs = torch.einsum("etf,edf->etd", own.activation(gate) * up, own.down)
        return torch.einsum("te,etd->td", shares, outs)


TWINS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    Frequencies: Numbers,
    Learned: Places,
    MixtureOfExperts: EveryExpert,
    ConvStem: PaddedStem,
}
"""What is traced in the place of a part: the same numbers, by operations that do not depend on data."""

_WITHOUT: dict[type, str] = {
    AdaptiveNorm: "it is steered by a condition, which no exported program takes",
    NodeEmbedder: "graphs have edges, whose lists and kernels depend on the graph at hand",
    ShortestPath: "it reads distances in a graph, which depend on the graph at hand",
    EdgeBias: "it reads the edges of the graph at hand",
    DenoisingHead: "a picture takes many steps out of noise; what is exported is one pass, or one step of writing",
    Neighbours: "it follows the edges of the graph at hand",
    RandomBlocks: "it draws blocks by the length of each sample",
    Modalities: "it looks up which modalities are there",
}
"""Parts and rules that cannot be traced, and why; others say so themselves by `not_exported`."""


def traceable(model: OmniFormer) -> OmniFormer:
    """The same model, its weights shared, made of parts that a tracer can follow.

    Raises:
        ValueError: the core is no transformer, or a part cannot be traced; names it.
    """
    for module in model.modules():
        refuse(module)
    for core in (model.reader, model.writer):
        if not isinstance(core, Transformer | Towers):
            raise ValueError(
                f"core {type(core).__name__} cannot be exported: only a Transformer, Towers or a pair of Transformers "
                "reads padded rows; train one with core=tiny, or predict with omniformer.load"
            )
    # Weights are not copied, for a model may be larger than half of the memory, but they learn no more.
    shared: dict[int, Any] = {id(weight): nn.Parameter(weight.detach(), False) for weight in model.parameters()}
    shared |= {id(buffer): buffer for buffer in model.buffers()}
    return _replaced(copy.deepcopy(model, shared)).eval()


def refuse(part: Any) -> None:
    """Raises for what cannot be traced: a module or a rule.

    Raises:
        ValueError: names the part and says why.
    """
    said = next((why for kind, why in _WITHOUT.items() if isinstance(part, kind)), None)
    if (why := said or getattr(part, "not_exported", None)) is not None:
        raise ValueError(f"{type(part).__name__} cannot be exported: {why}")
    if isinstance(part, Global) and part.feature is not None:
        raise ValueError(f"{part} cannot be exported: it reads a feature of tokens that has no place at the border")
    if isinstance(part, Rule):
        for inner in vars(part).values():
            if isinstance(inner, Rule):
                refuse(inner)


def _replaced(module: nn.Module) -> Any:
    """A module with all parts exchanged for their twins."""
    for name, child in module.named_children():
        twin = _replaced(child)
        if twin is not child:
            setattr(module, name, twin)
    return TWINS[type(module)](module) if type(module) in TWINS else module
