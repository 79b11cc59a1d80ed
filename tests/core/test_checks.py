"""Constructors refuse what a configuration would refuse, in the same words: their annotations have the ranges."""

import ast

import pytest

from omniformer import embedders, heads
from omniformer.config.accepts import kind as kind_of
from omniformer.config.signature import signature
from omniformer.core import checks, rules
from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.biases import ALiBi, RelativeTable, T5Buckets
from omniformer.core.cache import KVCache, SlidingCache, StaticCache
from omniformer.core.connection import AdaptiveNorm, LayerScale, PostNorm, PreNorm, SandwichNorm, TanhGate
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.graph_biases import EdgeBias, ShortestPath
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import LayerNorm, RMSNorm
from omniformer.core.positions import Fourier, Learned, Projected, Sinusoidal, SinusoidalHalves, SinusoidalSum
from omniformer.core.registers import Registers
from omniformer.core.rotary import Rotary
from omniformer.core.rotary_scaling import LinearScaling, NTKScaling, YaRN
from omniformer.core.scores import SoftCap
from omniformer.core.transformer import Transformer
from omniformer.core.variants.additive import AdditiveAttention
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.linformer import LinformerAttention
from omniformer.core.variants.performer import FavorFeatures, PerformerAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.recurrent_decoder import AdditiveReader, RecurrentDecoder
from omniformer.core.variants.reformer import ReformerAttention
from omniformer.core.variants.topk import TopKAttention
from omniformer.generation import BeamSearch, Greedy, Sampling

WIDTH, HEADS = {"d_model": 8}, {"d_model": 8, "n_heads": 2}
BRANCH = {**WIDTH, "branch": FeedForward(8), "norm": LayerNorm}
CLASSES, IDS, NUMBERS = {**WIDTH, "n_classes": 2}, {**WIDTH, "vocab_size": 3}, {**WIDTH, "features": 2}
EACH = [
    (WIDTH, [heads.AttentionPool, heads.DenseFirstToken, heads.SpanHead, heads.VectorHead, heads.LinkHead]),
    (WIDTH, [heads.DenseMeanPool, heads.DenseLastToken]),
    (WIDTH, [heads.FirstAndMean, heads.MultiheadAttentionPool, embedders.MaskToken]),
    (WIDTH, [heads.RegressionHead, AdditiveReader, RecurrentDecoder, LayerNorm, RMSNorm, FeedForward]),
    (WIDTH, [GatedFeedForward, MixtureOfExperts, Fourier, Projected, Sinusoidal, SinusoidalHalves, SinusoidalSum]),
    (HEADS, [SelfAttention, CrossAttention, AdditiveAttention, LinearAttention, PerformerAttention]),
    (HEADS, [ReformerAttention, TopKAttention]),
    (BRANCH, [PreNorm, PostNorm, SandwichNorm, LayerScale, TanhGate]),
    (CLASSES, [heads.ClassificationHead, heads.MultiLabelHead, heads.TokenClassificationHead, heads.DistilledHead]),
    (IDS, [heads.CTCHead, heads.NextTokenHead, embedders.IdEmbedder]),
    (NUMBERS, [heads.DenoisingHead, heads.ReconstructionHead, embedders.VectorEmbedder, embedders.NodeEmbedder]),
    (NUMBERS, [embedders.ConvStem]),
    ({"n_heads": 2}, [ALiBi, T5Buckets, ShortestPath]),
    ({"factor": 2.0}, [LinearScaling, NTKScaling]),
    ({}, [SoftCap, rules.Global, rules.Neighbours, Sampling, Greedy, BeamSearch]),
]
VALID = {
    **{kind: arguments for arguments, kinds in EACH for kind in kinds},
    AdaptiveNorm: {**BRANCH, "d_condition": 3},
    LinformerAttention: {**HEADS, "max_seq_len": 8, "rank": 2},
    FavorFeatures: {"head_dim": 4},
    RelativeTable: {"n_heads": 2, "max_distances": [2]},
    EdgeBias: {"n_heads": 2, "edge_vocab_sizes": [3], "edge_features": 1},
    Learned: {**WIDTH, "sizes": [4]},
    Rotary: {"head_dim": 8},
    YaRN: {"factor": 2.0, "original_seq_len": 8},
    Transformer: {**HEADS, "n_layers": 2},
    Recurrent: {**WIDTH, "n_layers": 2},
    Registers: {"core": Transformer(**HEADS, n_layers=1)},
    KVCache: {"n_layers": 1, "n_samples": 1},
    StaticCache: {"n_layers": 1, "n_samples": 1, "capacity": 1},
    SlidingCache: {"n_layers": 1, "n_samples": 1, "window": 1},
    heads.ContrastiveHead: {**WIDTH, "modalities": ["text", "vision"]},
    embedders.ClassTokenEmbedder: {**WIDTH, "embedder": embedders.VectorEmbedder(d_model=8, features=2)},
    embedders.ConvPositions: {**WIDTH, "groups": 2},
    embedders.WaveStem: {**NUMBERS, "features": 3, "channels": [1], "kernels": [2], "strides": [2], "position": None},
    rules.Window: {"left": 1, "right": 1},
    rules.BlockWindow: {"size": 2},
    rules.Strided: {"stride": 1},
}


def ranges_of(annotation, module="omniformer.core.ranges"):
    """The ranges inside an annotation, as the configuration reads them."""
    return kind_of(annotation, module).ranges


def bad(ranges):
    """Numbers just outside some ranges."""
    ends = [(each.least is not None and each.least - 1, each.above, each.below) for each in ranges]
    tops = [each.most + 1 for each in ranges if each.most is not None]
    return [end for each in ends for end in each if end is not None and end is not False] + tops


# Where a class takes more than configurations do.
OTHERWISE = {"seed": "any number seeds a generator", "scale": "a factor", "max_distances": "0 tells nothing apart"}

CASES = [
    pytest.param(kind, name, value, id=f"{kind.__name__}-{name}={value}")
    for kind in VALID
    for name, parameter in signature(f"{kind.__module__}.{kind.__qualname__}").parameters.items()
    if name not in OTHERWISE
    for value in bad(ranges_of(parameter.annotation, parameter.module))
]


def test_the_constructors_say_their_ranges():
    assert len(CASES) > 150


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_every_constructor_refuses_what_a_configuration_would(kind, name, value):
    several = isinstance(VALID[kind].get(name), list)
    with pytest.raises(ValueError, match=name):
        kind(**{**VALID[kind], name: [value] if several else value})


@pytest.mark.parametrize("kind", VALID, ids=lambda kind: kind.__name__)
def test_each_of_them_takes_what_is_usual(kind):
    assert isinstance(kind(**VALID[kind]), kind)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Transformer(**HEADS, n_layers=1, output_init="zeros"),
            "output_init='zeros' is unknown; choose one of",
        ),
        (lambda: Transformer(**HEADS, n_layers=1, kernel="dens"), "kernel='dens' is unknown; choose one of 'auto'"),
        (lambda: FeedForward(8, activation="gleu"), "activation='gleu' is unknown; choose one of 'relu', 'gelu'"),
        (lambda: GatedFeedForward(8, activation="gleu"), "activation='gleu'"),
        (lambda: MixtureOfExperts(8, activation="gleu"), "activation='gleu'"),
        (lambda: heads.DenseFirstToken(d_model=8, activation="gleu"), "activation='gleu'"),
        (lambda: heads.Transform(d_model=8, activation="gleu"), "activation='gleu'"),
        (lambda: Recurrent(d_model=8, n_layers=1, cell="rnn"), "cell='rnn' is unknown"),
        (lambda: RecurrentDecoder(d_model=8, cell="rnn"), "cell='rnn' is unknown"),
    ],
)
def test_a_name_that_does_not_exist_is_told_at_once_with_those_that_do(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        (checks.counts, "Count"),
        (checks.below_one, "BelowOne"),
        (checks.positive, "Positive"),
        (checks.not_negative, "Natural"),
    ],
)
def test_the_words_are_those_of_the_configuration(check, kind):
    (accepted,) = ranges_of(ast.parse(kind, mode="eval").body)
    assert bad([accepted])
    for value in bad([accepted]):
        with pytest.raises(ValueError, match=f"^some={value} must be {accepted.words}$"):
            check(some=value)


def test_a_number_that_is_none_is_no_number_of_any_range():
    for check in (checks.below_one, checks.positive, checks.not_negative):
        with pytest.raises(ValueError, match="nan"):
            check(share=float("nan"))
    checks.counts(head_dim=None)
