from collections import Counter

import pytest

from omniformer.data.sets.recall import Recall

SPLITS = ("train", "val", "test")


def test_the_text_is_the_payload_and_the_gap():
    source = Recall(payload=5, letters=3, gap=7, n_train=200)
    for name in SPLITS:
        for raw in source.split(name)[:50]:
            payload, text = raw.answer["text"], raw.contents["text"]
            assert len(payload) == 5
            assert set(payload) <= set("abc")
            assert text == payload + "." * (len(text) - 5)


def test_the_gap_is_whole_in_evaluation_and_varies_in_training():
    source = Recall(gap=4, n_train=500, n_val=20, n_test=30)
    assert [len(source.split(name)) for name in SPLITS] == [500, 20, 30]
    gaps = {name: Counter(raw.contents["text"].count(".") for raw in source.split(name)) for name in SPLITS}
    assert gaps["val"] == {4: 20}
    assert gaps["test"] == {4: 30}
    assert sorted(gaps["train"]) == [0, 1, 2, 3, 4]
    assert min(gaps["train"].values()) > 60


def test_letters_are_equally_frequent():
    letters = Counter("".join(raw.answer["text"] for raw in Recall(letters=4).split("train")[:1000]))
    assert sorted(letters) == list("abcd")
    assert min(letters.values()) > 1800


def test_samples_depend_on_the_seed_and_the_name_alone():
    def payloads(name="train", **options):
        return [raw.answer["text"] for raw in Recall(**options).split(name)[:100]]

    assert payloads() == payloads(n_train=100)
    assert payloads() != payloads(seed=1)
    assert len(set(payloads()) | set(payloads("test"))) == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"payload": 0}, "payload=0"),
        ({"letters": 1}, "letters=1 must be from 2 to 26"),
        ({"letters": 27}, "letters=27 must be from 2 to 26"),
        ({"gap": -1}, "gap=-1"),
        ({"n_train": -1}, "n_train=-1"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Recall(**options)
