from functools import partial

import pytest
import torch
from torch.nn import functional as F

from omniformer import heads
from omniformer.core.layout import Layout
from omniformer.core.norm import LayerNorm
from omniformer.core.propagation import GeneralizedPageRank
from omniformer.core.scores import SoftCap
from omniformer.heads import (
    AttentionPool,
    ClassificationHead,
    DenseFirstToken,
    DenseLastToken,
    DenseMeanPool,
    FeatureHead,
    FirstAndMean,
    FirstToken,
    FirstTokens,
    LastToken,
    MaxPool,
    MeanPool,
    MultiLabelHead,
    NextTokenHead,
    PatchMean,
    RampPool,
    RegressionHead,
    RootPool,
    SumPool,
    TokenClassificationHead,
)

LAYOUT = Layout.from_lengths(2, 0, 3)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 4, requires_grad=True)


def test_mean_pool_averages_each_sample_and_nothing_for_none(x):
    expected = torch.stack([x[:2].mean(0), torch.zeros(4), x[2:].mean(0)])
    torch.testing.assert_close(MeanPool(d_model=4)(x, LAYOUT), expected)


def test_sum_pool_adds_up_each_sample_so_that_twice_the_tokens_count_twice(x):
    expected = torch.stack([x[:2].sum(0), torch.zeros(4), x[2:].sum(0)])
    torch.testing.assert_close(SumPool(d_model=4)(x, LAYOUT), expected)


def test_root_ramp_and_max_pool_sample_by_sample(x):
    none, (a, b, c) = torch.zeros(4), x[2:]
    by_hand = {
        RootPool: [x[:2].sum(0) / 2**0.5, none, (a + b + c) / 3**0.5],
        RampPool: [(x[0] + 2 * x[1]) / 3, none, (a + 2 * b + 3 * c) / 6],
        MaxPool: [x[:2].max(0).values, none, x[2:].max(0).values],
    }
    for pool, rows in by_hand.items():
        torch.testing.assert_close(pool(d_model=4)(x, LAYOUT), torch.stack(rows))


def test_first_token_picks_the_first_of_each_sample(x):
    expected = torch.stack([x[0], torch.zeros(4), x[2]])
    torch.testing.assert_close(FirstToken(d_model=4)(x, LAYOUT), expected)


def test_first_tokens_are_averaged_and_a_sample_with_fewer_is_told(x):
    expected = torch.stack([x[:2].mean(0), torch.zeros(4), x[2:4].mean(0)])
    torch.testing.assert_close(FirstTokens(d_model=4, n=2)(x, LAYOUT), expected)
    with pytest.raises(ValueError, match="sample 0 has 2 tokens, of which the first 3 are read"):
        FirstTokens(d_model=4, n=3)(x, LAYOUT)
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        FirstTokens(d_model=4, n=0)


def test_the_first_token_stands_beside_the_mean_of_those_behind_the_first_ones():
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    out = FirstAndMean(d_model=4, n_first=2)(x, Layout.from_lengths(4, 0, 1, 2))
    none = torch.zeros(4)
    rows = [(x[0], x[2:4].mean(0)), (none, none), (x[4], none), (x[5], none)]
    torch.testing.assert_close(out, torch.stack([torch.cat(row) for row in rows]))


def test_the_mean_of_patches_leaves_out_the_first_ones_and_is_normalised():
    pool, x = (
        PatchMean(d_model=4, n_first=2, norm=LayerNorm),
        torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),
    )
    torch.nn.init.constant_(pool.norm.bias, 2.0)
    expected = F.layer_norm(x[2:].mean(0), (4,)) + 2
    torch.testing.assert_close(pool(x, Layout.from_lengths(5, 0)), torch.stack([expected, torch.zeros(4)]))


def test_the_last_token_is_mapped_and_an_empty_sample_stays_zero():
    pool, x = DenseLastToken(d_model=4, d_out=3), torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(pool.map.bias, 2.0)
    out = pool(x, Layout.from_lengths(2, 0, 3))
    torch.testing.assert_close(out, torch.stack([pool.map(x[1]), torch.zeros(3), pool.map(x[4])]))


@pytest.mark.parametrize(
    ("pool", "width"),
    [
        (FirstAndMean, 8),
        (partial(DenseFirstToken, d_out=3), 3),
        (MeanPool, 4),
        (DenseMeanPool, 256),
        (partial(DenseLastToken, d_out=5), 5),
    ],
    ids=str,
)
def test_heads_are_as_wide_as_what_their_pooling_gives(pool, width, x):
    made = [
        ClassificationHead(d_model=4, n_classes=3, pool=pool, norm=LayerNorm),
        RegressionHead(d_model=4, pool=pool),
        heads.VectorHead(d_model=4, d_embedding=5, pool=pool),
    ]
    for head in made:
        assert head(x, LAYOUT).shape[0] == 3
    linears = [made[0].classes, made[1].values, made[2].map]
    contrastive = heads.ContrastiveHead(d_model=4, modalities=["a", "b"], pool=pool)
    linears.append(contrastive.maps["b"])
    assert contrastive.embed(x, LAYOUT, "b").shape == (3, 128)
    assert [linear.in_features for linear in linears] == [width] * 4
    sentence = heads.SentenceHead(d_model=4, pools=[pool, MeanPool])
    assert sentence(x, LAYOUT).shape == (3, sentence.d_embedding) == (3, width + 4)


def test_a_norm_stands_between_pooling_and_classes(x):
    head = ClassificationHead(d_model=4, n_classes=3, norm=LayerNorm)
    torch.nn.init.normal_(head.classes.weight)
    pooled = MeanPool(d_model=4)(x, LAYOUT)
    torch.testing.assert_close(head(x, LAYOUT), head.classes(F.layer_norm(pooled, (4,))))


def test_attention_pool_weighs_by_softmax_within_a_sample(x):
    pool = AttentionPool(d_model=4)
    torch.nn.init.normal_(pool.query.weight, std=3.0)
    rows = [part.T @ pool.query(part)[:, 0].softmax(0) for part in (x[:2], x[2:])]
    torch.testing.assert_close(pool(x, LAYOUT), torch.stack([rows[0], torch.zeros(4), rows[1]]))


def test_the_last_token_of_each_sample():
    x = torch.arange(8.0).view(4, 2)
    out = LastToken(d_model=2)(x, Layout.from_lengths(3, 0, 1))
    assert out.tolist() == [x[2].tolist(), [0.0, 0.0], x[3].tolist()]


def test_the_first_token_mapped_and_squashed():
    pool = DenseFirstToken(d_model=4)
    x = torch.randn(LAYOUT.n_tokens, 4, generator=torch.Generator().manual_seed(0))
    first = FirstToken(d_model=4)(x, LAYOUT)
    torch.testing.assert_close(pool(x, LAYOUT), torch.tanh(first @ pool.map.weight.T + pool.map.bias))
    other = DenseFirstToken(d_model=4, activation="relu")
    torch.testing.assert_close(other(x, LAYOUT), torch.relu(first @ other.map.weight.T + other.map.bias))


@pytest.mark.parametrize(
    "pool",
    [
        MeanPool,
        SumPool,
        RootPool,
        RampPool,
        MaxPool,
        FirstAndMean,
        FirstToken,
        FirstTokens,
        LastToken,
        DenseFirstToken,
        DenseMeanPool,
        DenseLastToken,
        PatchMean,
        AttentionPool,
    ],
)
def test_pools_never_mix_samples(pool, x):
    layer = pool(d_model=4)
    (gradient,) = torch.autograd.grad(layer(x, LAYOUT)[0].sum(), x)
    assert not gradient[2:].any()


def test_classes_start_equally_likely(x):
    head = ClassificationHead(d_model=4, n_classes=5)
    torch.testing.assert_close(head.predict(head(x, LAYOUT)), torch.full((3, 5), 0.2))


def test_labels_are_independent_of_each_other():
    probabilities = MultiLabelHead(d_model=4, n_classes=2).predict(torch.tensor([[0.0, 100.0]]))
    torch.testing.assert_close(probabilities, torch.tensor([[0.5, 1.0]]))


def test_token_head_answers_for_every_token(x):
    head = TokenClassificationHead(d_model=4, n_classes=3)
    assert head.per_token
    assert head(x, LAYOUT).shape == (5, 3)


def test_logits_of_tokens_travel_along_edges_where_a_head_propagates(x):
    plain = TokenClassificationHead(d_model=4, n_classes=3)
    torch.nn.init.normal_(plain.classes.weight)
    layout = Layout(lengths=torch.tensor([5]), edges=torch.tensor([[0, 1], [1, 0]]))
    carried = TokenClassificationHead(d_model=4, n_classes=3, propagation=partial(GeneralizedPageRank, steps=1))
    assert carried.load_state_dict(plain.state_dict(), strict=False).missing_keys == ["propagation.weights"]
    torch.testing.assert_close(carried(x, layout), GeneralizedPageRank(steps=1)(plain(x, layout), layout))
    assert not torch.allclose(carried(x, layout)[0], plain(x, layout)[0])


def test_regression_starts_at_the_training_mean_in_target_units(x):
    head = RegressionHead(d_model=4, n_outputs=2, target_mean=[7.0, -1.0], target_std=[2.0, 0.5])
    torch.testing.assert_close(head(x, LAYOUT), torch.tensor([[7.0, -1.0]] * 3))


def test_a_regression_without_units_has_none_to_save():
    assert "target_mean" in RegressionHead(d_model=4, target_mean=[7.0], target_std=[2.0]).state_dict()
    assert set(RegressionHead(d_model=4).state_dict()) == {"values.weight", "values.bias"}


def test_regression_refuses_a_spread_that_is_not_positive():
    with pytest.raises(ValueError, match="target_std above 0"):
        RegressionHead(d_model=4, target_std=[0.0], target_mean=[1.0])


def test_a_soft_cap_bounds_the_logits_that_are_read_and_learned_from():
    torch.manual_seed(0)
    plain = NextTokenHead(d_model=4, vocab_size=6, tied=False)
    capped = NextTokenHead(d_model=4, vocab_size=6, tied=False, score=SoftCap(cap=0.5))
    capped.load_state_dict(plain.state_dict())
    x, layout, targets = torch.randn(3, 4) * 100, Layout.from_lengths(3), torch.tensor([5, 0, 2])
    expected = 0.5 * torch.tanh(plain(x, layout) / 0.5)
    torch.testing.assert_close(capped(x, layout), expected)
    losses = torch.nn.functional.cross_entropy(expected, targets, reduction="none")
    torch.testing.assert_close(capped.losses(x, targets, most=12), losses)


@pytest.mark.parametrize(("most", "tokens"), [(3, [1] * 5), (20, [2, 2, 1]), (35, [5]), (700, [5])])
def test_losses_of_few_logits_at_a_time_equal_the_whole_and_so_do_gradients(x, most, tokens):
    head = NextTokenHead(d_model=4, vocab_size=7, tied=False)
    seen = []
    head.ids.register_forward_hook(lambda map, given, out: seen.append(len(out)))
    targets = torch.tensor([0, 6, 3, 3, 1])
    whole = F.cross_entropy(head.ids(x), targets, reduction="none")
    seen.clear()
    losses = head.losses(x, targets, most=most)
    assert seen == tokens
    torch.testing.assert_close(losses, whole)
    parameters = (x, head.ids.weight)
    weights = torch.arange(5.0)
    for ours, theirs in zip(
        torch.autograd.grad(losses @ weights, parameters), torch.autograd.grad(whole @ weights, parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_table_of_another_size_cannot_be_tied():
    with pytest.raises(ValueError, match=r"\[7, 4\] to an input table \[8, 4\]"):
        NextTokenHead(d_model=4, vocab_size=7).tie(torch.nn.Embedding(8, 4))


def test_a_classifier_without_offsets_is_one_map():
    head = ClassificationHead(d_model=4, n_classes=3, pool=LastToken, bias=False)
    torch.nn.init.normal_(head.classes.weight)
    x = torch.randn(LAYOUT.n_tokens, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head(x, LAYOUT), LastToken(d_model=4)(x, LAYOUT) @ head.classes.weight.T)
    assert [name for name, _ in head.named_parameters()] == ["classes.weight"]


def test_a_regression_without_offsets_is_one_map_and_can_be_described_without_memory():
    head = RegressionHead(d_model=4, n_outputs=2, pool=LastToken, bias=False)
    assert [name for name, _ in head.named_parameters()] == ["values.weight"]
    with torch.device("meta"):
        assert RegressionHead(d_model=4, target_std=[2.0]).values.weight.is_meta


def test_features_are_the_cores_output_as_it_is(x):
    assert FeatureHead()(x, LAYOUT) is x
    assert FeatureHead().predict(x.bfloat16()).dtype == torch.float32


def test_offsets_that_are_kept_are_added_and_saved_but_neither_trained_nor_counted(x):
    head = NextTokenHead(d_model=4, vocab_size=6, tied=False, kept_bias=True)
    plain = head.scores(x)
    offsets = torch.linspace(-1, 1, 6)
    head.load_state_dict(head.state_dict() | {"kept_bias": offsets})
    torch.testing.assert_close(head.scores(x), plain + offsets)
    assert [name for name, _ in head.named_parameters()] == ["ids.weight"]


SOFTENED = {"d_model": 4, "n_classes": 3}
WITHOUT = {
    **{
        each.__name__: lambda each=each: ClassificationHead(**SOFTENED, pool=each)
        for each in (
            MeanPool,
            SumPool,
            RootPool,
            RampPool,
            MaxPool,
            FirstToken,
            LastToken,
            DenseFirstToken,
            AttentionPool,
        )
    },
    "norm": lambda: ClassificationHead(**SOFTENED, norm=LayerNorm),
    "MultiLabelHead": lambda: MultiLabelHead(**SOFTENED),
    "TokenClassificationHead": lambda: TokenClassificationHead(**SOFTENED),
    "RegressionHead": lambda: RegressionHead(d_model=4),
    "NextTokenHead": lambda: NextTokenHead(d_model=4, vocab_size=5, transform=heads.Transform, bias=True),
    "CTCHead": lambda: heads.CTCHead(d_model=4, vocab_size=5),
    "SpanHead": lambda: heads.SpanHead(d_model=4),
    "VectorHead": lambda: heads.VectorHead(d_model=4, d_embedding=2),
    "ReconstructionHead": lambda: heads.ReconstructionHead(d_model=4, features=3),
}


@pytest.mark.parametrize("n_samples", [0, 2])
@pytest.mark.parametrize("kind", WITHOUT)
def test_without_a_token_every_weight_of_every_head_has_a_gradient_and_none_is_not_a_number(kind, n_samples):
    head = WITHOUT[kind]()
    head(torch.zeros(0, 4, requires_grad=True), Layout.from_lengths(*[0] * n_samples)).sum().backward()
    missing = [name for name, weight in head.named_parameters() if weight.grad is None]
    assert missing == []
    assert all(weight.grad.isfinite().all() for weight in head.parameters())
    if not n_samples:
        assert not any(weight.grad.any() for weight in head.parameters())


def test_links_of_no_tokens_give_every_weight_a_gradient_of_zero():
    head = heads.LinkHead(d_model=4)
    vectors = head(torch.zeros(0, 4), Layout.from_lengths())
    head.scores(vectors, torch.zeros(0, 2, dtype=torch.long)).sum().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in head.parameters())


@pytest.mark.parametrize("n_samples", [0, 2])
def test_comparing_no_tokens_gives_every_map_a_gradient(n_samples):
    head = heads.ContrastiveHead(d_model=4, modalities=["text", "vision"], d_embedding=3)
    layout = Layout.from_lengths(*[0] * n_samples)
    sum(head.embed(torch.zeros(0, 4), layout, name).sum() for name in head.modalities).backward()
    assert [name for name, each in head.maps.named_parameters() if each.grad is None] == []


def test_a_regression_head_without_units_of_its_own_is_the_same_function():
    torch.manual_seed(0)
    head = RegressionHead(d_model=4, n_outputs=2, target_mean=[7.0, -1.0], target_std=[2.0, 0.5])
    torch.nn.init.normal_(head.values.weight)
    x, layout = torch.randn(5, 4), Layout.from_lengths(2, 3)
    plain = head.plain()
    assert plain.state_dict().keys() == RegressionHead(d_model=4).state_dict().keys()
    torch.testing.assert_close(plain(x, layout), head(x, layout))
    assert plain.plain() is plain
    with pytest.raises(ValueError, match="without bias"):
        RegressionHead(d_model=4, target_mean=[1.0], bias=False).plain()


def test_a_mapped_first_token_may_have_another_width(x):
    pool = DenseFirstToken(d_model=4, activation="gelu", d_out=7)
    expected = torch.nn.functional.gelu(x[0] @ pool.map.weight.T + pool.map.bias)
    torch.testing.assert_close(pool(x, LAYOUT)[0], expected)
