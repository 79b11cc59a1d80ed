from functools import partial

import pytest
import torch

from omniformer.core.attention.disentangled import DisentangledAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.biases import T5Buckets
from omniformer.core.cache import KVCache
from omniformer.core.disentangled import DisentangledTransformer
from omniformer.core.distances import DistanceVectors
from omniformer.core.layout import Layout
from omniformer.core.padded import PaddedLayout
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.transformer import Transformer

LENGTHS = (5, 0, 9)
LAYOUT = Layout.from_lengths(*LENGTHS)


def by_hand(attention, vectors, bias, x):
    """Every query, key and head in turn, after equation 4 of the paper."""
    q, k, v = attention.qkv(x).unflatten(1, (3, 2, 6)).unbind(1)
    rows, start = [], 0
    for length in LENGTHS:
        for i in range(start, start + length):
            heads = []
            for head in range(2):
                scores = []
                for j in range(start, start + length):
                    far = vectors.table[vectors.row(torch.tensor(i - j))]
                    if attention.of_distances is None:
                        far_q, far_k, _ = attention.qkv(far).unflatten(0, (3, 2, 6))[:, head]
                        both = {"content_to_position": far_k, "position_to_content": far_q}
                    else:
                        parts = attention.of_distances(far).unflatten(0, (len(attention.terms), 2, 6))[:, head]
                        both = dict(zip(attention.terms, parts, strict=True))
                    score = q[i, head] @ k[j, head]
                    if "content_to_position" in attention.terms:
                        score = score + q[i, head] @ both["content_to_position"]
                    if "position_to_content" in attention.terms:
                        score = score + k[j, head] @ both["position_to_content"]
                    score = score / (6 * (1 + len(attention.terms))) ** 0.5
                    scores.append(score + bias.table[bias.bucket(torch.tensor(j - i)), head])
                heads.append(torch.stack(scores).softmax(0) @ v[start : start + length, head])
            rows.append(torch.cat(heads))
        start += length
    return attention.out(torch.stack(rows))


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ("auto", {}),
        ("reference", {"own_maps": True, "terms": ["position_to_content"]}),
        ("dense", {"own_maps": True}),
        ("dense", {"terms": ["content_to_position"]}),
    ],
)
def test_contents_meet_distances(kernel, options):
    torch.manual_seed(0)
    attention = DisentangledAttention(d_model=12, n_heads=2, **options).double()
    vectors = DistanceVectors(d_model=12, n_buckets=4, max_distance=6).double()
    bias = T5Buckets(n_heads=2, n_buckets=8, max_distance=16).double()
    for part in (attention, vectors, bias):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter)
    x = torch.randn(14, 12, dtype=torch.float64)
    plan = lower(Full(), LAYOUT, kernel=kernel)
    found = attention(x, Context(plan=plan, bias=bias, distances=vectors(LAYOUT, LAYOUT)))
    expected = by_hand(attention, vectors, bias, x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weights = [*attention.parameters(), *vectors.parameters(), *bias.parameters()]
    for one, other in zip(*(torch.autograd.grad(each.sin().sum(), weights) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def stack(**options):
    torch.manual_seed(0)
    distances = partial(DistanceVectors, n_buckets=4, max_distance=6, init_std=1.0)
    return DisentangledTransformer(d_model=8, n_layers=2, n_heads=2, distances=distances, init_std=0.5, **options)


@pytest.mark.parametrize("rule", [Full(), Window(left=2, right=1)])
def test_kernels_agree_and_samples_never_meet(rule):
    core, x = stack(), torch.randn(14, 8, requires_grad=True)
    outs = [core(x, LAYOUT, plan=lower(rule, LAYOUT, kernel=kernel)) for kernel in ("reference", "dense")]
    if rule != Full():
        outs += [core(x, LAYOUT, plan=lower(rule, LAYOUT, kernel="banded"))]
    for out in outs[1:]:
        torch.testing.assert_close(out, outs[0], rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(outs[1][5:].sum(), x)
    assert not gradient[:5].any() and gradient[5:].any()


def test_rows_with_padding_say_the_same():
    core, valid = stack(), torch.arange(9) < torch.tensor([[5], [9]])
    x, layout = torch.randn(2, 9, 8), PaddedLayout(valid=valid)
    expected = core(x[valid], Layout.from_lengths(5, 9))
    torch.testing.assert_close(core(x.flatten(0, 1), layout)[valid.flatten()], expected, rtol=1e-4, atol=1e-5)


def test_a_recomputed_stack_learns_the_same():
    layout, x, found = Layout.from_lengths(3, 4), torch.randn(7, 8), []
    for again in (False, True):
        core = stack(checkpoint_blocks=again).train()
        core(x, layout).sin().sum().backward()
        found.append([parameter.grad for parameter in core.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert core.distances.table.grad.any()


def test_it_decodes_as_it_reads():
    core, x = stack().eval(), torch.randn(6, 8)
    whole, cache = core(x, Layout.from_lengths(6), Causal()), KVCache(n_layers=2, n_samples=1)
    with torch.inference_mode():
        for part in (x[:4], x[4:5], x[5:]):
            layout, _ = cache.extend(torch.tensor([len(part)]))
            out = core(part, layout, Causal(), cache=cache)
    torch.testing.assert_close(out, whole[5:], rtol=1e-4, atol=1e-5)


def test_no_token_leaves_gradients_of_zero():
    core = stack(attention=partial(DisentangledAttention, own_maps=True))
    core(torch.zeros(0, 8), Layout.from_lengths(0, 0)).sum().backward()
    assert [name for name, each in core.named_parameters() if each.grad is None or each.grad.any()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": []}, r"terms=\[\] must name one or two of content_to_position"),
        ({"terms": ["p2p"]}, r"terms=\['p2p'\] must name"),
        ({"n_kv_heads": 1}, "n_kv_heads=1 must be n_heads=2"),
    ],
)
def test_what_it_cannot_do_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DisentangledAttention(d_model=8, n_heads=2, **options)


def test_a_stack_without_distances_is_refused():
    core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=DisentangledAttention)
    with pytest.raises(ValueError, match="needs the vectors of distances of its stack; use core"):
        core(torch.zeros(3, 8), Layout.from_lengths(3))
