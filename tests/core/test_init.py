from functools import partial

import pytest
import torch
from torch import nn

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.key_offsets import CrossAttentionWithoutKeyOffset, SelfAttentionWithoutKeyOffset
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.whole_norm import WholeNormAttention
from omniformer.core.biases import RelativeTable, T5Buckets
from omniformer.core.block import Block, CrossBlock, GatedCrossBlock, ParallelBlock, ParallelNormsBlock
from omniformer.core.connection import (
    AdaptiveNorm,
    BranchNorm,
    LayerScale,
    PostNorm,
    SandwichNorm,
    ScaledBranch,
    TanhGate,
)
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.feedforward import GatedFeedForward
from omniformer.core.graph_biases import EdgeBias, ShortestPath
from omniformer.core.init import depth_scaled, linear_, reset, untouched
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.messages import MessageBlock
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import RMSNorm
from omniformer.core.registers import Registers
from omniformer.core.towers import Towers
from omniformer.core.transformer import Transformer
from omniformer.core.variants.additive import AdditiveAttention
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.linformer import LinformerAttention
from omniformer.core.variants.performer import PerformerAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.recurrent_decoder import LastReader, RecurrentDecoder
from omniformer.core.variants.reformer import ReformerAttention
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.core.variants.topk import TopKAttention
from omniformer.core.variants.value_residual import ValueResidualAttention


def test_linear_maps_are_drawn_with_the_deviation_asked_for():
    linear = nn.Linear(300, 300)
    linear_(linear, 0.05)
    assert linear.weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert not linear.bias.any()
    linear_(linear, 0.0)
    assert not linear.weight.any()


def test_depth_scaled_counts_two_branches_a_layer():
    assert depth_scaled(1.0, 8) == pytest.approx(1 / 4)


class Part(nn.Module):
    def __init__(self, inner=None):
        super().__init__()
        self.drawn, self.inner = None, inner
        self.linear, self.table = nn.Linear(2, 2), nn.Embedding(2, 2)


class Branch(Part):
    def draw_weights(self, std, output_std):
        self.drawn = (std, output_std)


class Plain(Part):
    def reset_parameters(self):
        self.drawn = ()


def test_every_part_is_drawn_in_its_own_way_and_pytorchs_layers_are_left_to_their_holders():
    part = Branch(Plain(Part(Branch())))
    before = [parameter.clone() for parameter in part.parameters()]
    reset(part, 0.1, 0.2)
    assert part.drawn == part.inner.inner.inner.drawn == (0.1, 0.2)
    assert part.inner.drawn == ()
    assert all(torch.equal(a, b) for a, b in zip(before, part.parameters(), strict=True))


def core(kind=Transformer, **parts):
    return kind(**{"d_model": 8, "n_layers": 2, "n_heads": 2, **parts})


ATTENTIONS = [
    SelfAttention,
    AdditiveAttention,
    SelfAttentionWithoutKeyOffset,
    LinearAttention,
    partial(LinformerAttention, max_seq_len=4, rank=2),
    PerformerAttention,
    ReformerAttention,
    partial(TopKAttention, top_k=2),
    ValueResidualAttention,
    partial(SelfAttention, qk_norm=RMSNorm, pair_bias=T5Buckets),
    partial(WholeNormAttention, whole_norm=RMSNorm),
]
CORES = {
    **{getattr(each, "func", each).__name__: lambda each=each: core(attention=each) for each in ATTENTIONS},
    "T5Buckets": lambda: core(pair_bias=T5Buckets),
    "RelativeTable": lambda: core(pair_bias=partial(RelativeTable, max_distances=[2])),
    "ShortestPath": lambda: core(pair_bias=ShortestPath),
    "EdgeBias": lambda: core(pair_bias=partial(EdgeBias, edge_vocab_sizes=[3], edge_features=1)),
    "ParallelBlock": lambda: core(block=ParallelBlock),
    "MessageBlock": lambda: core(block=partial(MessageBlock, edge_vocab_sizes=[3], edge_features=1)),
    "ParallelNormsBlock": lambda: core(block=ParallelNormsBlock),
    "BranchNorm": lambda: core(connection=BranchNorm),
    "ScaledBranch": lambda: core(connection=ScaledBranch),
    "CrossBlock": lambda: core(block=CrossBlock),
    "CrossAttentionWithoutKeyOffset": lambda: core(block=partial(CrossBlock, cross=CrossAttentionWithoutKeyOffset)),
    "GatedCrossBlock": lambda: core(block=partial(GatedCrossBlock, cross=CrossAttention)),
    "GatedFeedForward": lambda: core(feedforward=GatedFeedForward, norm=RMSNorm),
    "MixtureOfExperts": lambda: core(feedforward=partial(MixtureOfExperts, n_experts=4)),
    "PostNorm": lambda: core(connection=PostNorm, final_norm=False),
    "SandwichNorm": lambda: core(connection=SandwichNorm),
    "LayerScale": lambda: core(connection=LayerScale),
    "TanhGate": lambda: core(connection=TanhGate),
    "AdaptiveNorm": lambda: core(connection=partial(AdaptiveNorm, d_condition=3)),
    "checkpointed": lambda: core(checkpoint_blocks=True, pair_bias=ShortestPath, block=Block),
    "ReversibleTransformer": lambda: core(ReversibleTransformer, pair_bias=ShortestPath),
    "Registers": lambda: Registers(core=core()),
    "Towers": lambda: Towers(towers=[core(), core(d_model=4)]),
    "LSTM": lambda: Recurrent(d_model=8, n_layers=2),
    "GRU": lambda: Recurrent(d_model=8, n_layers=2, cell="gru", bidirectional=True),
    "RecurrentDecoder": lambda: RecurrentDecoder(d_model=8),
    "RecurrentDecoder, LSTM, no attention": lambda: RecurrentDecoder(d_model=8, cell="lstm", reader=LastReader),
}


def empty(n_samples):
    return Layout(
        lengths=torch.zeros(n_samples, dtype=torch.long),
        edges=torch.zeros(2, 0, dtype=torch.long),
        edge_features=torch.zeros(0, 2),
    )


@pytest.mark.quick(36)
@pytest.mark.parametrize("kernel", ["auto", "reference", "flex"])
@pytest.mark.parametrize("n_samples", [0, 2])
@pytest.mark.parametrize("kind", CORES)
def test_without_a_token_every_weight_of_every_part_has_a_gradient_of_zero(kind, n_samples, kernel):
    part, layout, options = CORES[kind]().train(), empty(n_samples), {}
    if kernel != "auto" and not hasattr(part, "kernel"):
        pytest.skip("has no kernels")
    part.kernel = kernel
    if getattr(part, "reads_memory", False):
        options["memory"] = Memory(x=torch.zeros(0, 8, requires_grad=True), layout=empty(n_samples))
    if kind == "AdaptiveNorm":
        options["condition"] = torch.zeros(n_samples, 3, requires_grad=True)
    losses = {}
    out = part(torch.zeros(0, 8, requires_grad=True), layout, losses=losses, **options)
    (out.sum() + sum(losses.values(), torch.zeros(()))).backward()
    missing = [name for name, weight in part.named_parameters() if weight.grad is None or weight.grad.any()]
    # A register of a sample without tokens still reads the other registers; without samples there are none.
    assert missing == [], missing
    if "memory" in options:
        assert options["memory"].x.grad is not None


@pytest.mark.parametrize("target", [(0, 0), (2, 1)])
@pytest.mark.parametrize("source", [(0, 0), (2, 1)])
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (lambda: core(), lambda: core(block=CrossBlock)),
        (lambda: Recurrent(d_model=8, n_layers=1), lambda: RecurrentDecoder(d_model=8)),
        (lambda: Recurrent(d_model=8, n_layers=1), lambda: RecurrentDecoder(d_model=8, cell="lstm", reader=LastReader)),
    ],
    ids=["transformers", "recurrent", "recurrent without attention"],
)
def test_no_weight_of_a_pair_is_left_out_where_either_side_is_empty(encoder, decoder, source, target):
    pair = EncoderDecoder(encoder=encoder(), decoder=decoder())
    read, written = Layout.from_lengths(*source), Layout.from_lengths(*target)
    pair(torch.randn(read.n_tokens, 8), read, torch.randn(written.n_tokens, 8), written).sum().backward()
    assert [name for name, weight in pair.named_parameters() if weight.grad is None] == []


def test_what_is_untouched_adds_no_number_and_gives_zeros_even_to_damaged_weights():
    part = nn.Linear(2, 2)
    part.weight.data[0, 0] = torch.nan
    total = untouched(part)
    total.backward()
    assert total == 0 and not part.weight.grad.any() and not part.bias.grad.any()
