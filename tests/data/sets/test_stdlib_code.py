import json

import pytest

from omniformer.data.sets.stdlib_code import StdlibCode

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def code():
    return {name: StdlibCode().split(name) for name in SPLITS}


@pytest.mark.slow
def test_documents_are_the_sources_of_modules(code):
    texts = {raw.id: raw.contents["text"] for name in SPLITS for raw in code[name]}
    with open(json.__file__, encoding="utf-8") as file:
        assert texts["stdlib_code/json/__init__.py"] == file.read()


def test_no_text_is_in_two_splits(code):
    texts = [raw.contents["text"] for name in SPLITS for raw in code[name]]
    assert len(texts) == len(set(texts))


def test_tests_and_the_other_corpus_are_left_out(code):
    names = [raw.id for name in SPLITS for raw in code[name]]
    assert not [name for name in names if {"test", "tests", "pydoc_data", "site-packages"} & set(name.split("/"))]


def test_characters_are_split_80_10_10(code):
    sizes = [sum(len(raw.contents["text"]) for raw in code[name]) for name in SPLITS]
    assert sizes[1] / sum(sizes) == pytest.approx(0.1, abs=0.02)
    assert sizes[2] / sum(sizes) == pytest.approx(0.1, abs=0.02)


def test_max_bytes_limits_the_text():
    small = StdlibCode(max_bytes=300_000)
    assert 100_000 < sum(len(r.contents["text"].encode()) for n in SPLITS for r in small.split(n)) <= 300_000
    with pytest.raises(ValueError, match="max_bytes=0 must be at least 1"):
        StdlibCode(max_bytes=0)
