from pydoc_data.topics import topics

from omniformer.data.compression import conditional_bz2_bits_per_byte, joined
from omniformer.data.sets.python_topics import PythonTopics, without_repeats

SPLITS = ("train", "val", "test")


def paragraphs(name):
    return [" ".join(p.split()) for raw in PythonTopics().split(name) for p in raw.contents["text"].split("\n\n")]


def test_no_paragraph_occurs_twice_in_or_across_splits():
    everything = [p for name in SPLITS for p in paragraphs(name)]
    assert len(everything) == len(set(everything))


def test_every_paragraph_of_the_reference_is_kept_once():
    original = {" ".join(p.split()) for text in topics.values() for p in text.split("\n\n")} - {""}
    assert {p for name in SPLITS for p in paragraphs(name)} == original


def test_topics_are_split_80_10_10():
    sizes = [len(PythonTopics().split(name)) for name in SPLITS]
    assert abs(sizes[1] - 0.1 * sum(sizes)) <= 1
    assert abs(sizes[2] - 0.1 * sum(sizes)) <= 1


def test_a_repeated_paragraph_stays_with_the_first_topic_by_name():
    assert without_repeats({"b": "x\n\ny", "a": " x", "c": "x"}) == {"a": " x", "b": "y"}


def test_bz2_needs_a_little_less_than_two_bits_a_byte():
    train, test = (joined(raw.contents["text"] for raw in PythonTopics().split(name)) for name in ("train", "test"))
    assert 1.4 < conditional_bz2_bits_per_byte(train, test) < 2.1
