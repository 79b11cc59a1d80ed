import bz2
import random

import pytest

from omniformer.data.compression import conditional_bz2_bits_per_byte, joined


def test_random_bytes_need_about_eight_bits_each_whatever_came_before():
    noise = random.Random(0).randbytes(40_000)
    assert conditional_bz2_bits_per_byte(noise[:20_000], noise[20_000:]) == pytest.approx(8, abs=0.3)


def test_seeing_the_training_text_helps():
    words = random.Random(1).choices(["alpha", "beta", "gamma", "delta", "epsilon"], k=3000)
    train, test = " ".join(words[:2500]), " ".join(words[2500:])
    alone = len(bz2.compress(test.encode())) * 8 / len(test)
    assert conditional_bz2_bits_per_byte(train, test) < alone


def test_bytes_are_counted_and_not_characters():
    assert conditional_bz2_bits_per_byte("", "é" * 50) == conditional_bz2_bits_per_byte(b"", "é".encode() * 50)


def test_an_empty_test_text_is_refused():
    with pytest.raises(ValueError, match="test text is empty"):
        conditional_bz2_bits_per_byte("a", "")


def test_documents_are_joined_by_blank_lines():
    assert joined(["a", "b"]) == "a\n\nb"
