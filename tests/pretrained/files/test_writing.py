"""What files of published models say of the texts that they write."""

import json

import pytest

from omniformer.generation import Allowed
from omniformer.pretrained.files.writing import allowed_ids


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
