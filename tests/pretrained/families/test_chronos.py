"""Chronos beside the reference library's T5, which its files are made for."""

import json

import pytest
import torch
from twins import ragged_pair, saved, shaken, transformers, twin

import omniformer
from omniformer import pretrained
from omniformer.generation import Forecaster, Greedy, Sampling

SIZES = {"d_model": 12, "d_kv": 5, "d_ff": 20, "num_layers": 2, "num_heads": 3, "vocab_size": 29}
SIZES |= {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "decoder_start_token_id": 0}
TOLD = {
    "tokenizer_class": "MeanScaleUniformBins",
    "tokenizer_kwargs": {"low_limit": -3.0, "high_limit": 3.0},
    "n_tokens": 28,
    "n_special_tokens": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "use_eos_token": True,
    "model_type": "seq2seq",
    "context_length": 9,
    "prediction_length": 4,
    "num_samples": 20,
}
SERIES = [torch.sin(torch.arange(12.0)) * 7 + 2, torch.tensor([3.0, 1.0, 2.0])]


def model(**others):
    config = transformers.T5Config(**(SIZES | {"tie_word_embeddings": False, "chronos_config": TOLD} | others))
    theirs = transformers.T5ForConditionalGeneration(config)
    theirs.lm_head.weight = torch.nn.Parameter(torch.zeros(29, 12))  # as published; the constructor ties it
    return theirs


def logits(output):
    return output.logits


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    theirs = shaken(model())
    return theirs, pretrained.load(saved(theirs, tmp_path_factory.mktemp("chronos")))


def test_logits_gradients_and_the_way_back(tmp_path):
    inputs, mask = ragged_pair(29)
    loaded = twin(model(), tmp_path, logits, inputs, mask)
    assert type(loaded.family).__name__ == "Chronos"
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["model_type"] == "t5" and config["chronos_config"] == TOLD


def greedy(theirs, series, steps):
    """What the reference writes of one series, scaled and put into bins by hand; the ids of its steps, and its size."""
    series = series[-9:].tolist()
    scale = sum(map(abs, series)) / len(series)
    ids = [3 + round(min(max((value / scale + 3) / 6 * 24, 0), 24)) for value in series] + [1]
    options = {"do_sample": False, "min_new_tokens": steps, "max_new_tokens": steps, "pad_token_id": 0}
    found = theirs.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), eos_token_id=1, **options)
    return torch.tensor([-3 + min(max(i - 3, 0), 24) * 6 / 24 for i in found[0, 1:].tolist()]) * scale


def test_the_most_probable_path_is_the_references_turn_after_turn(both):
    theirs, loaded = both
    found = Forecaster.of(loaded).forecast(SERIES, steps=6, strategy=Greedy())
    for paths, series in zip(found, SERIES, strict=True):
        first = greedy(theirs, series, 4)
        second = greedy(theirs, torch.cat([series, first]), 2)
        torch.testing.assert_close(paths, torch.cat([first, second])[None], rtol=1e-5, atol=1e-5)


def test_paths_are_drawn_apart_and_do_not_depend_on_the_batch(both):
    forecaster = Forecaster.of(both[1])
    together, alone = (forecaster.forecast(SERIES, steps=5, n=7, batch_size=size) for size in (2, 1))
    for one, other, series in zip(together, alone, SERIES, strict=True):
        torch.testing.assert_close(one, other)
        assert one.shape == (7, 5) and len(one.unique(dim=0)) > 1
        assert torch.isfinite(one).all() and float(one.abs().max()) <= 3.01 * float(series.abs().mean()) * 3
    other = forecaster.forecast(SERIES, steps=5, strategy=Sampling(temperature=1.0, n=7, seed=1))
    assert not torch.equal(other[0], together[0])


def test_a_later_turn_reads_the_medians_of_the_one_before(both):
    forecaster, strategy = Forecaster.of(both[1]), Sampling(temperature=1.0, n=5)
    (whole,) = forecaster.forecast(SERIES[:1], steps=6, strategy=strategy)
    read = torch.cat([SERIES[0], whole[:, :4].sort(dim=0).values[2]])
    (later,) = forecaster._paths([read], 2, strategy, place=0, turn=4)
    torch.testing.assert_close(whole[:, 4:], later)


def test_a_saved_chronos_forecasts_the_same(both, tmp_path):
    loaded = both[1]
    omniformer.save(tmp_path / "model", loaded, recipe=loaded.recipe)
    again = omniformer.load(tmp_path / "model")
    one, other = (Forecaster.of(each).forecast(SERIES, steps=3, n=2) for each in (loaded, again))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_cannot_be_forecast_is_named(both):
    forecaster = Forecaster.of(both[1])
    with pytest.raises(ValueError, match="series 1 has no value to go on from"):
        forecaster.forecast([SERIES[0], torch.zeros(0)], steps=2)
    with pytest.raises(ValueError, match="series 0: 1 of 3 steps after the first value are missing"):
        forecaster.forecast([torch.tensor([1.0, torch.nan, 1.0])], steps=2)
    with pytest.raises(ValueError, match="steps=0 must be at least 1"):
        forecaster.forecast(SERIES, steps=0)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"tokenizer_class": "Other"}, "chronos_config.tokenizer_class='Other'; accepted: 'MeanScaleUniformBins'"),
        ({"use_eos_token": False}, "chronos_config.use_eos_token=False; accepted: True"),
        ({"n_tokens": 99}, "chronos_config.n_tokens=99, more than vocab_size=29"),
    ],
)
def test_other_ways_of_making_ids_are_refused(told, message):
    with pytest.raises(ValueError, match=message):
        pretrained.family_of({"model_type": "t5", **SIZES, "chronos_config": TOLD | told})


def test_a_model_that_writes_no_bins_forecasts_nothing(tmp_path):
    config = transformers.T5Config(**SIZES)
    theirs = shaken(transformers.T5ForConditionalGeneration(config))
    with pytest.raises(ValueError, match="no member of this model writes scaled bins"):
        Forecaster.of(pretrained.load(saved(theirs, tmp_path)))
