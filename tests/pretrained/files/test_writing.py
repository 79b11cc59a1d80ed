"""What files of published models say of the texts that they write."""

import json
import re

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


@pytest.mark.parametrize(
    "keys",
    [
        {"suppress_tokens": ["a", 1]},
        {"suppress_tokens": [1.5]},
        {"begin_suppress_tokens": [True]},
        {"bad_words_ids": [["x"]]},
        {"forced_bos_token_id": -2},
        {"forced_bos_token_id": [3]},
    ],
)
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


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"do_sample": True, "temperature": float("nan")}, "temperature=nan must be a finite number"),
        ({"do_sample": True, "temperature": "0.5"}, "temperature='0.5' must be a finite number"),
        ({"do_sample": True, "temperature": 10**400}, "temperature=1000"),
        ({"do_sample": True, "temperature": 1e-320}, "temperature=1e-320 must be at least 1e-06 and finite, or 0"),
        ({"do_sample": True, "top_k": 2.5}, "top_k=2.5 must be a whole number of at least 0"),
        ({"do_sample": "no"}, "do_sample='no' must be true or false"),
        ({"max_new_tokens": -5}, "max_new_tokens=-5 must be a whole number of at least 0"),
        ({"max_new_tokens": "20"}, "max_new_tokens='20' must be a whole number of at least 0"),
        ({"min_new_tokens": True}, "min_new_tokens=True must be a whole number of at least 0"),
        ({"num_beams": 0}, "num_beams=0 must be a whole number of at least 1"),
        ({"num_beams": 10**9}, "num_beams=1000000000 must be at most 256"),
        ({"num_beams": 2, "early_stopping": [1]}, "early_stopping=[1] must be true, false or 'never'"),
        ({"num_beams": 2, "length_penalty": float("inf")}, "length_penalty=inf must be a finite number"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty=nan must be a finite number"),
        ({"no_repeat_ngram_size": 1.5}, "no_repeat_ngram_size=1.5 must be a whole number of at least 0"),
        ([1], "holds a list, expected a JSON object"),
    ],
)
def test_odd_values_are_told_with_their_key(said, told):
    with pytest.raises(ValueError, match=rf"^generation_config\.json.*{re.escape(told)}") as error:
        usual_writing(said, "generation_config.json")
    assert len(str(error.value)) < 200


def test_an_answer_without_an_end_is_left_out(caplog):
    assert usual_writing({"max_new_tokens": 10**9}, "a.json") == {"strategy": Greedy()}
    assert "a.json: left out: max_new_tokens=1000000000, more than 1048576" in caplog.text


def test_ids_that_the_model_does_not_know_are_left_out_and_told(tmp_path, caplog):
    folder = written(tmp_path, suppress_tokens=[3, 10, 11], begin_suppress_tokens=[12])
    assert allowed_ids(folder, {"vocab_size": 10}) == Allowed(never=(3,))
    assert "suppressed: left out: 10, 11; the model knows the 10 ids from 0" in caplog.text
    with pytest.raises(ValueError, match=r"the id 10 must be written, and the model knows only 10"):
        allowed_ids(written(tmp_path, forced_eos_token_id=10), {"vocab_size": 10})


@pytest.mark.parametrize("key", ["suppress_tokens", "begin_suppress_tokens", "bad_words_ids"])
def test_what_is_no_list_of_ids_is_told(tmp_path, key):
    with pytest.raises(ValueError, match=rf"generation_config.json: {key}=5; accepted: a list"):
        allowed_ids(written(tmp_path, **{key: 5}), {})


def test_a_file_of_millions_of_ids_is_not_even_read(tmp_path):
    with pytest.raises(ValueError, match=r"generation_config.json has 2,\d+,\d+ bytes; at most 1,000,000 are read"):
        allowed_ids(written(tmp_path, suppress_tokens=list(range(300_000))), {})
