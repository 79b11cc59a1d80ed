"""What files of published models say of the texts that they write."""

import json

import pytest

from omniformer.generation import Allowed, BeamSearch, Greedy, NoRepeat, Sampling
from omniformer.pretrained.files.writing import allowed_ids, usual_writing


def written(folder, **keys):
    (folder / "generation_config.json").write_text(json.dumps(keys))
    return folder


def test_padding_of_marian_and_the_ends_of_bart(tmp_path):
    keys = {"bad_words_ids": [[58100]], "forced_bos_token_id": 3, "forced_eos_token_id": [0, 7], "num_beams": 6}
    expected = Allowed(never=(58100,), first=3, last=0)
    assert allowed_ids(tmp_path, keys) == expected
    assert allowed_ids(written(tmp_path, **keys), {}) == expected


def test_what_whisper_suppresses(tmp_path):
    keys = {"suppress_tokens": [7, 2], "begin_suppress_tokens": [5]}
    assert allowed_ids(written(tmp_path, **keys), {}) == Allowed(never=(2, 7), never_first=(5,))


def test_nothing_is_said(tmp_path):
    assert allowed_ids(tmp_path, {}) is None
    assert allowed_ids(written(tmp_path, bad_words_ids=None, num_beams=4), {}) is None


def test_the_newer_file_goes_before_the_older(tmp_path):
    assert allowed_ids(written(tmp_path, forced_eos_token_id=None), {"forced_eos_token_id": 2}) is None


def test_sequences_that_are_forbidden_are_told_of(tmp_path, caplog):
    assert allowed_ids(written(tmp_path, bad_words_ids=[[4], [5, 6]]), {}) == Allowed(never=(4,))
    assert "bad_words_ids forbids [5, 6]; sequences of ids are not forbidden here" in caplog.text


@pytest.mark.parametrize("keys", [{"suppress_tokens": ["a", 1]}, {"forced_bos_token_id": -2}])
def test_damaged_ids_name_the_file(tmp_path, keys):
    with pytest.raises(ValueError, match=r"generation_config.json: the ids that may be written are damaged"):
        allowed_ids(written(tmp_path, **keys), {})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"eos_token_id": [1, 2], "top_k": 50}, {"strategy": Greedy()}),
        (
            {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05},
            {"strategy": Sampling(temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.05)},
        ),
        ({"do_sample": True}, {"strategy": Sampling(temperature=1.0, top_k=50)}),
        ({"do_sample": True, "top_k": 0}, {"strategy": Sampling(temperature=1.0)}),
        (
            {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3},
            {"strategy": BeamSearch(n_beams=4, length_penalty=2.0, stopping="full"), "adjust": (NoRepeat(3),)},
        ),
        (
            {"min_new_tokens": 3, "max_new_tokens": 9, "repetition_penalty": 1.2},
            {"strategy": Greedy(repetition_penalty=1.2), "min_new_tokens": 3, "max_new_tokens": 9},
        ),
    ],
)
def test_files_recommend_how_to_write(said, expected, caplog):
    assert usual_writing(said, "generation_config.json") == expected
    assert caplog.messages == []


def test_what_is_not_followed_is_said_and_what_is_wrong_names_the_file(caplog):
    usual_writing({"max_length": 40, "num_beams": 4, "do_sample": True, "typical_p": 0.9}, "it/generation_config.json")
    assert caplog.messages == [
        "it/generation_config.json: not followed: max_length=40, typical_p=0.9, do_sample=True, num_beams=4"
    ]
    with pytest.raises(ValueError, match="it/generation_config.json: top_p=7 must be above 0"):
        usual_writing({"do_sample": True, "top_p": 7}, "it/generation_config.json")
