from functools import partial

import pytest
import torch

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.block import ParallelBlock
from omniformer.core.connection import PostNorm, PreNorm
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.core.variants.reversible import ReversibleTransformer

LAYOUT = Layout.from_lengths(4, 0, 7, 1)


def core(n_layers=3, dtype=torch.float64, **options):
    torch.manual_seed(0)
    made = ReversibleTransformer(d_model=8, n_layers=n_layers, n_heads=2, init_std=0.5, **options)
    return made.to(dtype)


def plain(model, x, layout=LAYOUT, rule=None, **options):
    """The same layers with all activations kept: probing takes that route."""
    return model(x, layout, rule, stages={}, **options)


def gradients(out, inputs):
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return torch.autograd.grad((out * weight).sum(), inputs)


def test_output_and_gradients_equal_those_of_kept_activations():
    model = core()
    x = torch.randn(12, 8, dtype=torch.float64, requires_grad=True)
    inputs = [x, *model.parameters()]
    mine, right = model(x, LAYOUT, Causal()), plain(model, x, rule=Causal())
    assert torch.equal(mine, right)
    for a, b in zip(gradients(mine, inputs), gradients(right, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_single_precision_gradients_survive_twelve_layers():
    model = core(n_layers=12, dtype=torch.float32)
    x = torch.randn(12, 8, requires_grad=True)
    inputs = [x, *model.parameters()]
    for a, b in zip(gradients(model(x, LAYOUT), inputs), gradients(plain(model, x), inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())


def test_the_backward_pass_repeats_the_same_dropout():
    model = core(dropout=0.3, stochastic_depth=0.3, attention=partial(SelfAttention, dropout=0.3), connection=PreNorm)
    x = torch.randn(12, 8, dtype=torch.float64, requires_grad=True)
    inputs = [x, *model.parameters()]
    outs, grads, states = [], [], []
    for run in (model, partial(plain, model)):
        torch.manual_seed(5)
        outs.append(run(x, LAYOUT))
        grads.append(gradients(outs[-1], inputs))
        states.append(torch.get_rng_state())
    assert torch.equal(*outs)
    assert torch.equal(*states)  # the backward pass leaves the generator alone
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_kept_activations_do_not_grow_with_depth():
    def kept(model):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.randn(12, 8, requires_grad=True), LAYOUT)
        return sum(size for pointer, size in sizes.items() if pointer not in weights)

    assert kept(core(n_layers=8, dtype=torch.float32)) == kept(core(n_layers=2, dtype=torch.float32))
    ordinary = [kept(Transformer(d_model=8, n_layers=n, n_heads=2)) for n in (2, 8)]
    assert ordinary[1] > 3 * ordinary[0]


def test_one_layer_is_the_two_equations_of_the_paper():
    model = core(n_layers=1, final_norm=False)
    block = model.blocks[0]
    x = torch.randn(12, 8, dtype=torch.float64)
    context = Context(plan=lower(Causal(), LAYOUT))
    attention, feedforward = block.attention, block.feedforward
    first = x + attention.branch(attention.norm(x), context)
    second = x + feedforward.branch(feedforward.norm(first), context)
    torch.testing.assert_close(model(x, LAYOUT, Causal()), (first + second) / 2)


def test_frozen_weights_get_no_gradient_and_the_others_theirs():
    model = core()
    for parameter in model.blocks[0].parameters():
        parameter.requires_grad_(False)
    model(torch.randn(12, 8, dtype=torch.float64), LAYOUT).sum().backward()
    assert all(p.grad is None for p in model.blocks[0].parameters())
    assert all(p.grad is not None for p in model.blocks[1].parameters())


def test_a_bias_that_all_layers_share_learns_from_all_of_them():
    class Distance(torch.nn.Module):
        def __init__(self, n_heads):
            super().__init__()
            self.slope = torch.nn.Parameter(torch.linspace(0.1, 0.5, n_heads))

        def forward(self, query, key):
            return -self.slope.view(-1, *[1] * query.token.ndim) * (query.index - key.index).abs()

    model = core(pair_bias=Distance)
    x = torch.randn(12, 8, dtype=torch.float64)
    (mine,) = gradients(model(x, LAYOUT), [model.pair_bias.slope])
    (right,) = gradients(plain(model, x), [model.pair_bias.slope])
    torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-10)


def test_autocast_is_repeated_in_the_backward_pass():
    model = core(dtype=torch.float32)
    x = torch.randn(12, 8, requires_grad=True)
    grads = []
    for run in (model, partial(plain, model)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = run(x, LAYOUT)
        grads.append(gradients(out.float(), [x]))
    torch.testing.assert_close(*grads, rtol=2e-2, atol=2e-2 * grads[1][0].abs().max().item())


def test_what_would_lose_a_gradient_is_refused():
    class Spilling(torch.nn.Module):
        def __init__(self, d_model):
            super().__init__()
            self.map = torch.nn.Linear(d_model, d_model)

        def forward(self, x, context):
            context.report.add_losses(spill=self.map(x).square().mean())
            return self.map(x)

    with pytest.raises(ValueError, match="cannot pass gradients to spill"):
        core(feedforward=Spilling)(torch.randn(12, 8, dtype=torch.float64), LAYOUT)
    learned = Layout(lengths=torch.tensor([2]), features={"height": torch.zeros(2, requires_grad=True)})
    with pytest.raises(ValueError, match="the layout's features requires gradients"):
        core()(torch.randn(2, 8, dtype=torch.float64), learned)


def test_options_it_cannot_keep_are_refused():
    with pytest.raises(ValueError, match="connection must be PreNorm"):
        core(connection=PostNorm)
    with pytest.raises(ValueError, match="checkpoint_blocks=True be False"):
        core(checkpoint_blocks=True)
    with pytest.raises(ValueError, match="block must be ReversibleBlock, not .*ParallelBlock"):
        core(block=ParallelBlock)
