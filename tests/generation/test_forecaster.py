"""Paths of series from a small model of our own; beside the reference's they stand in test_chronos.py."""

from types import SimpleNamespace

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, ScaledBinsTokenizer

from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.generation import Forecaster, Greedy, Sampling
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member

SERIES = [torch.linspace(1.0, 9.0, 12), torch.tensor([3.0, 1.0, 2.0]), torch.tensor([-4.0, 40.0])]
BINS = ScaledBinsTokenizer(low=-3.0, high=3.0, n_bins=20, context=8, horizon=3)


def built(vocab_size):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "rotary": Rotary, "init_std": 0.5}
    core = EncoderDecoder(encoder=Transformer(**sizes), decoder=Transformer(**sizes, block=CrossBlock))
    embedders = {BINS.modality: IdEmbedder(d_model=16, vocab_size=vocab_size, init_std=1.0)}
    head = NextTokenHead(d_model=16, vocab_size=vocab_size, modality=BINS.modality)
    return OmniFormer(core=core, embedders=embedders, heads={"it": head}, rules={"it": Causal()}).eval()


@pytest.fixture(scope="module")
def forecaster():
    return Forecaster(built(BINS.facts["vocab_size"]), "it", BINS)


def test_each_series_has_so_many_paths_of_so_many_steps_in_bins_of_its_own_size(forecaster):
    found = forecaster.forecast(SERIES, steps=5, n=4)
    assert [paths.shape for paths in found] == [(4, 5)] * 3
    for paths, series in zip(found, SERIES, strict=True):
        centres = torch.linspace(-3.0, 3.0, 20) * series[-8:].abs().mean()
        assert (paths[:, :3, None] - centres).abs().amin(-1).max() < 1e-4 * series.abs().max()


def test_paths_depend_neither_on_the_batch_nor_on_what_else_is_asked(forecaster):
    together, alone = (forecaster.forecast(SERIES, steps=4, n=3, batch_size=size) for size in (3, 1))
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))
    other = forecaster.forecast(SERIES, steps=4, strategy=Sampling(temperature=1.0, n=3, seed=1))
    assert not torch.equal(other[0], together[0])
    (greedy,) = forecaster.forecast(SERIES[:1], steps=4, n=3, strategy=Greedy())
    assert greedy.shape == (1, 4)


def test_more_steps_than_the_horizon_go_on_from_the_medians(forecaster):
    drawn = Sampling(temperature=1.0, n=5)
    (first,) = forecaster.forecast(SERIES[:1], steps=3, strategy=drawn)
    (whole,) = forecaster.forecast(SERIES[:1], steps=5, strategy=drawn)
    assert torch.equal(whole[:, :3], first)
    read = torch.cat([SERIES[0], first.sort(dim=0).values[2]])
    (later,) = forecaster._paths([read], 2, drawn, place=0, turn=3)
    assert torch.equal(whole[:, 3:], later)


def test_what_lies_before_the_context_is_not_read(forecaster):
    longer = torch.cat([torch.tensor([99.0, -99.0]), SERIES[0][-8:]])
    one, other = (forecaster.forecast([each], steps=3, strategy=Greedy())[0] for each in (longer, SERIES[0][-8:]))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("series", "options", "message"),
    [
        ([torch.zeros(0)], {"steps": 2}, "series 0 has no value to go on from"),
        ([SERIES[0], torch.zeros(2, 2)], {"steps": 2}, "series 1: "),
        (SERIES, {"steps": 0}, "steps=0 must be at least 1"),
        (SERIES, {"steps": 2, "n": 0}, "n=0 must be at least 1"),
        (SERIES, {"steps": 2, "batch_size": 0}, "batch_size=0 must be at least 1"),
    ],
)
def test_what_cannot_be_forecast_is_named(forecaster, series, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        forecaster.forecast(series, **options)


def test_the_member_that_writes_bins_is_found():
    bytes_ = Member(tokenizers={"text": ByteTokenizer()})
    bins = Member(tokenizers={BINS.modality: BINS}, given=(BINS.modality,))
    trained = SimpleNamespace(model=built(BINS.facts["vocab_size"]), members={"other": bytes_, "it": bins})
    assert Forecaster.of(trained).head == "it"
    with pytest.raises(ValueError, match="no member of this model writes scaled bins, only other"):
        Forecaster.of(SimpleNamespace(model=trained.model, members={"other": bytes_}))
    with pytest.raises(TypeError, match="'it' writes with a ByteTokenizer; a forecast needs a ScaledBinsTokenizer"):
        Forecaster(trained.model, "it", ByteTokenizer())
