from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from omniformer.core.attention import plan
from omniformer.core.attention.meta import Call
from omniformer.core.block import CrossBlock
from omniformer.core.cache import KVCache
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.feedforward import GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import RMSNorm
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Neighbours, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.linformer import LinformerAttention
from omniformer.core.variants.performer import PerformerAttention
from omniformer.core.variants.reformer import ReformerAttention
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.inspection.cost import _flops, active_parameters, cache_bytes_per_token, forward_cost, parameters

RAGGED = Layout.from_lengths(9, 0, 4, 17)


def on_meta(make):
    with torch.device("meta"):
        return make().to("meta")


def counted(core, layout, *, backward=False, **options):
    """What PyTorch's own counter says of a real pass with attention written out."""
    x = torch.randn(layout.n_tokens, core.d_model, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        out = core(x, layout, Full(), **options)
        if backward:
            out.sum().backward()
    return counter.get_total_flops()


def kept_by(run, model):
    """The bytes of every storage that a real pass keeps, by address, those of the model aside."""
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # held on to, so that no later storage gets the same address

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run()
    assert out is not None
    return kept


MODELS = {
    "plain": partial(Transformer, d_model=16, n_layers=2, n_heads=4),
    "grouped": partial(
        Transformer,
        d_model=16,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        feedforward=GatedFeedForward,
        norm=RMSNorm,
        rotary=Rotary,
    ),
    "parts of its own": partial(Transformer, d_model=16, n_layers=1, n_heads=4, attention=LinearAttention),
}


@pytest.mark.parametrize("name", MODELS)
def test_operations_equal_those_that_torch_counts(name):
    core = MODELS[name](kernel="reference")
    assert forward_cost(on_meta(MODELS[name]), RAGGED).flops == counted(core, RAGGED)


def test_training_takes_three_times_the_operations_of_a_forward_pass():
    cost = forward_cost(on_meta(MODELS["plain"]), RAGGED)
    assert cost.training_flops == counted(MODELS["plain"](kernel="reference"), RAGGED, backward=True)


def test_operations_of_cross_attention_are_counted_over_the_memory(monkeypatch):
    monkeypatch.setattr(plan, "choose", lambda *args: ("reference", "torch does not count its fused kernel on a CPU"))
    make = partial(Transformer, d_model=16, n_layers=2, n_heads=4, block=CrossBlock)
    memory = Memory(x=torch.randn(10, 16), layout=Layout.from_lengths(3, 0, 2, 5))
    assert forward_cost(on_meta(make), RAGGED, memory=memory).flops == counted(make(), RAGGED, memory=memory)


def test_values_of_another_width_than_keys_are_counted_as_wide_as_they_are():
    layout = Layout.from_lengths(3)
    call = Call(rule=Full(), layout=layout, key_layout=layout, n_heads=2, head_dim=8, value_dim=5, itemsize=4)
    assert _flops(call, {}) == 2 * 9 * 2 * (8 + 5)


def test_only_pairs_that_the_rule_allows_are_counted():
    core = on_meta(MODELS["plain"])
    lengths = torch.tensor([9, 0, 4, 17])
    linear = forward_cost(core, RAGGED).flops - 2 * 4 * 16 * int((lengths**2).sum())
    causal = forward_cost(core, RAGGED, Causal()).flops
    assert causal == linear + 2 * 4 * 16 * int((lengths * (lengths + 1) // 2).sum())
    window = forward_cost(core, RAGGED, Window(left=1, right=1)).flops
    assert window == linear + 2 * 4 * 16 * sum(3 * n - 2 for n in (9, 4, 17))
    graph = Layout(lengths=lengths, edges=torch.tensor([[0, 1, 2, 10], [1, 0, 3, 11]]))
    assert forward_cost(core, graph, Neighbours()).flops == linear + 2 * 4 * 16 * 4


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "attention",
    [
        LinearAttention,
        partial(PerformerAttention, n_features=8),
        partial(LinformerAttention, max_seq_len=1024, rank=8),
        partial(ReformerAttention, chunk_size=8),
    ],
)
def test_approximations_cost_in_proportion_to_the_length(attention):
    core = on_meta(partial(Transformer, d_model=16, n_layers=1, n_heads=2, attention=attention))
    costs = [forward_cost(core, Layout.from_lengths(n)) for n in (256, 512, 1024)]
    for a, b in pairwise(costs):
        assert b.flops == pytest.approx(2 * a.flops, rel=0.02)
        assert b.activation_bytes == pytest.approx(2 * a.activation_bytes, rel=0.02)


def test_a_mixture_of_experts_costs_what_its_chosen_experts_do(monkeypatch):
    # PyTorch's counter does not know the one product of all experts.
    monkeypatch.setattr("omniformer.core.moe._ROW_BYTES", 10**9)
    make = partial(
        Transformer,
        d_model=16,
        n_layers=1,
        n_heads=2,
        feedforward=partial(MixtureOfExperts, n_experts=8, top_k=2, d_ff=32),
    )
    core = on_meta(make)
    assert forward_cost(core, RAGGED).flops == counted(make(kernel="reference"), RAGGED)
    assert parameters(core) - active_parameters(core) == 6 * 3 * 16 * 32
    assert "forward" not in vars(core.blocks[0].feedforward.branch)  # the stand-in is gone


def test_offsets_of_idle_experts_are_idle_too():
    moe = MixtureOfExperts(16, n_experts=8, top_k=2, d_ff=32, bias=True)
    assert parameters(moe) - active_parameters(moe) == 6 * (3 * 16 * 32 + 2 * 32 + 16)


def test_experts_may_be_in_the_encoder_of_a_pair():
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2}
    plain = partial(Transformer, **sizes)
    chosen = partial(plain, feedforward=partial(MixtureOfExperts, n_experts=4, top_k=1))

    def flops(encoder, *, alone):
        decoder = partial(plain, block=CrossBlock)
        core = on_meta(encoder if alone else lambda: EncoderDecoder(encoder=encoder(), decoder=decoder()))
        return forward_cost(core, RAGGED).flops

    of_pairs = flops(chosen, alone=False) - flops(plain, alone=False)
    assert of_pairs == flops(chosen, alone=True) - flops(plain, alone=True) != 0


@pytest.mark.parametrize("make", [MODELS["plain"], MODELS["grouped"], MODELS["parts of its own"]])
def test_kept_bytes_equal_those_of_a_real_pass(make):
    core = make()
    layout = Layout.from_lengths(8, 8)
    real = sum(kept_by(lambda: core(torch.randn(16, 16, requires_grad=True), layout, Causal()), core).values())
    assert forward_cost(on_meta(make), layout, Causal()).activation_bytes == pytest.approx(real, rel=0.05)


def test_reversible_layers_keep_the_same_whatever_the_depth():
    costs = [
        forward_cost(on_meta(partial(ReversibleTransformer, d_model=16, n_layers=n, n_heads=2)), RAGGED) for n in (2, 8)
    ]
    assert costs[0].activation_bytes == costs[1].activation_bytes
    assert costs[1].flops == 4 * costs[0].flops


@pytest.mark.slow
def test_one_attention_matrix_of_eight_heads_and_1024_tokens_has_33554432_bytes():
    core = on_meta(partial(Transformer, d_model=512, n_layers=2, n_heads=8))
    cost = forward_cost(core, Layout.from_lengths(1024))
    assert cost.attention_bytes == 2 * 33_554_432
    assert cost.attention_layers == 2
    x = torch.zeros(1024, 512, requires_grad=True)
    for kernel, allocates in (("reference", True), ("auto", False)):
        layer = Transformer(d_model=512, n_layers=1, n_heads=8, kernel=kernel)
        sizes = kept_by(lambda layer=layer: layer(x, Layout.from_lengths(1024)), layer).values()
        assert (33_554_432 in sizes) == allocates
        assert (max(sizes) >= 33_554_432) == allocates


def test_cache_bytes_are_those_that_layers_hand_to_the_cache():
    core = Transformer(d_model=16, n_layers=3, n_heads=4, n_kv_heads=2)
    cache = KVCache(n_layers=3, n_samples=2)
    layout, _ = cache.extend(torch.tensor([10, 7]))
    given = []
    for layer in cache.layers:
        layer.append = lambda k, v, append=layer.append: (given.append(k.nbytes + v.nbytes), append(k, v))[1]
    core(torch.randn(17, 16), layout, Causal(), cache=cache)
    assert sum(given) == 17 * cache_bytes_per_token(core, torch.float32)
    assert cache_bytes_per_token(Transformer(d_model=16, n_layers=1, n_heads=2, attention=LinearAttention)) == 0


def test_a_model_with_real_weights_is_refused():
    with pytest.raises(ValueError, match=r"the core has weights on cpu; build it under torch.device\('meta'\)"):
        forward_cost(Transformer(d_model=16, n_layers=1, n_heads=2), RAGGED)
