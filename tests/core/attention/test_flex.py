import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from omniformer.core.attention.flex import Flex, _attention, _block_mask, compiled, mask_mod
from omniformer.core.attention.reference import Reference
from omniformer.core.layout import Layout
from omniformer.core.rules import (
    Causal,
    Full,
    Modalities,
    Neighbours,
    Prefix,
    Self,
    Strided,
    Window,
    bigbird,
    longformer,
    mistral,
    sparse_transformer,
)

LENGTHS = [0, 1, 30, 77, 13, 5]
LAYOUT = Layout(
    lengths=torch.tensor(LENGTHS),
    prefix=torch.tensor([n // 2 for n in LENGTHS]),
    modality=torch.arange(sum(LENGTHS)) % 2,
    features={"star": torch.arange(sum(LENGTHS)) % 19 == 0},
)
RULES = [
    Full(),
    Causal(),
    Self(),
    Window(5, 9),
    Strided(4),
    Causal() | Prefix(),
    ~Causal() & Window(4, 4),
    Modalities([[0], [0, 1]]),
    mistral(window=20, sinks=3),
    sparse_transformer(stride=5),
    longformer(window=16, n_global=2, feature="star"),
    bigbird(size=16, n_global=1),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_mask_function_asked_pair_by_pair_is_the_rule(rule):
    mod, n = mask_mod(rule, LAYOUT, LAYOUT), LAYOUT.n_tokens
    zero, token = torch.tensor(0), torch.arange(n)
    ask = torch.vmap(torch.vmap(mod, in_dims=(None, None, None, 0)), in_dims=(None, None, 0, None))
    answer = ask(zero, zero, token, token)
    assert torch.equal(answer, rule.mask(LAYOUT))


@pytest.mark.quick(6)
@pytest.mark.parametrize("score", [None, lambda x: 2 * torch.tanh(x / 2)], ids=["no score", "cap"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_forward_pass_equals_the_reference(rule, score):
    q, k, v = torch.randn(LAYOUT.n_tokens, 4, 8), torch.randn(LAYOUT.n_tokens, 2, 8), torch.randn(LAYOUT.n_tokens, 2, 8)
    ours, theirs = (kernel(rule, LAYOUT, LAYOUT)(q, k, v, scale=0.3, score=score) for kernel in (Flex, Reference))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_cached_keys_are_met_at_their_index():
    new, seen = Layout(lengths=torch.tensor([1, 2]), start=torch.tensor([8, 3])), Layout.from_lengths(9, 5)
    q, k = torch.randn(3, 2, 8), torch.randn(14, 2, 8)
    ours, theirs = (kernel(mistral(window=4), new, seen)(q, k, k, scale=0.3) for kernel in (Flex, Reference))
    torch.testing.assert_close(ours, theirs)


def test_gradients_on_a_cpu_are_refused_with_what_to_do():
    q = torch.randn(LAYOUT.n_tokens, 2, 8, requires_grad=True)
    with pytest.raises(ValueError, match=r"no backward pass on a CPU; choose kernel='auto'"):
        Flex(Full(), LAYOUT, LAYOUT)(q, q, q, scale=1.0)


def test_dropout_runs_by_a_kernel_that_knows_it():
    q = torch.randn(LAYOUT.n_tokens, 2, 8, requires_grad=True)
    out = Flex(Causal(), LAYOUT, LAYOUT)(q, q, torch.ones_like(q), scale=1.0, dropout=0.5)
    assert out.requires_grad and not torch.allclose(out, torch.ones_like(out))


@pytest.mark.gpu
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_on_cuda_outputs_and_gradients_equal_the_reference(rule):
    layout = LAYOUT.to("cuda")
    q, k, v = (torch.randn(layout.n_tokens, n, 64, device="cuda", requires_grad=True) for n in (4, 2, 2))
    grad = torch.randn(layout.n_tokens, 4, 64, device="cuda")
    outs = [kernel(rule, layout, layout)(q, k, v, scale=0.1) for kernel in (Flex, Reference)]
    for ours, theirs in zip(*([out, *torch.autograd.grad(out, (q, k, v), grad)] for out in outs), strict=True):
        # TF32 may be used inside the compiled kernel: 10 bits of mantissa.
        torch.testing.assert_close(ours, theirs, rtol=5e-3, atol=5e-3)


def scale(x):
    return 2 * x


def test_each_rule_is_compiled_by_itself_and_equal_rules_share_what_was_made(monkeypatch):
    codes = []
    monkeypatch.setattr(torch, "compile", lambda function: codes.append(function.__code__) or function)
    compiled.cache_clear()
    rules = [Modalities([[0], [0, 1]]), Modalities([[0, 1], [1]]), Neighbours(1), Neighbours(2), Window(1, 1)]
    made = [compiled(scale, rule) for rule in rules]
    # The compiler keeps what it made beside the code: sharing it would be sharing that.
    assert len(set(map(id, codes))) == len(rules)
    assert [compiled(scale, rule) for rule in [Modalities([[0], [0, 1]]), *rules[1:]]] == made
    assert len(codes) == len(rules) and [each(3) for each in made] == [6] * len(rules)
    compiled.cache_clear()


GRAPH = Layout(
    lengths=torch.tensor([3, 2]), edges=torch.tensor([[0, 1, 4], [1, 2, 3]]), modality=torch.tensor([0, 1, 1, 0, 1])
)


@pytest.mark.parametrize(
    "rule",
    [Modalities([[0], [0, 1]]), Modalities([[0], [1]]), Neighbours(1), Neighbours(2), Neighbours() | Self()],
    ids=str,
)
def test_what_is_compiled_reads_tensors_of_the_batch_and_holds_none_of_its_own(rule):
    mod, zero = mask_mod(rule, GRAPH, GRAPH), torch.tensor(0)
    rule.mask(GRAPH)  # what rules remember of a layout is there, as before a kernel is compiled
    given = {id(GRAPH.sample), id(GRAPH.offsets), id(GRAPH.modality), *map(id, GRAPH._memo.values())}
    module = make_fx(lambda q, k: mod(zero, zero, q, k))(torch.tensor([1]), torch.tensor([0]))
    constants = [value for name, value in vars(module).items() if isinstance(value, torch.Tensor)]
    constants += list(module._buffers.values())
    assert all(id(each) in given or each is GRAPH.index for each in constants), module.code


@pytest.mark.slow
def test_another_rule_and_another_batch_after_one_was_compiled_get_their_own_answer():
    def mask(mod, n):
        token, zero = torch.arange(n), torch.tensor(0)
        return torch.vmap(torch.vmap(mod, in_dims=(None, None, None, 0)), in_dims=(None, None, 0, None))(
            zero, zero, token, token
        )

    for hops in (1, 2):
        for edges in ([[0, 1], [1, 2]], [[0, 1, 2, 3], [1, 2, 3, 4]]):
            layout = Layout(lengths=torch.tensor([len(edges[0]) + 1]), edges=torch.tensor(edges))
            rule = Neighbours(hops)
            expected = rule.mask(layout)
            made = torch.compile(mask, backend="eager")(mask_mod(rule, layout, layout), layout.n_tokens)
            assert torch.equal(made, expected)


@pytest.mark.slow
def test_rules_of_one_class_that_are_compiled_one_after_the_other_are_each_the_reference():
    q, k, v = (torch.randn(LAYOUT.n_tokens, 2, 16) for _ in range(3))
    for rule in (Modalities([[0], [0, 1]]), Modalities([[0, 1], [1]])):
        mod, n = mask_mod(rule, LAYOUT, LAYOUT), LAYOUT.n_tokens
        rule.mask(LAYOUT)
        blocks = compiled(_block_mask, rule)(mod, None, None, n, n, device="cpu")
        rows = [each.transpose(0, 1)[None] for each in (q, k, v)]
        out = compiled(_attention, rule)(*rows, block_mask=blocks, scale=0.3)[0].transpose(0, 1)
        torch.testing.assert_close(out, Reference(rule, LAYOUT, LAYOUT)(q, k, v, scale=0.3), rtol=1e-5, atol=1e-5)
