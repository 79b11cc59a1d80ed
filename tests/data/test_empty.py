import warnings

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.data.empty import Empty
from omniformer.data.samples import SampleError


def batch(*lengths: int, answers: int | None = None, first: int = 0):
    def text(n: int) -> Tokens:
        return Tokens(values=torch.zeros(n, dtype=torch.int64), positions=torch.zeros(n, 1), modality="text")

    answer = () if answers is None else (text(answers),)
    return collate([Sample(id=f"s{first + i}", pieces=[text(n)], answer=answer) for i, n in enumerate(lengths)])


def test_the_first_empty_samples_are_named_once():
    empty = Empty("songs", 100, 0.05)
    with pytest.warns(UserWarning, match=r"songs: 2 sample\(s\) without a token so far, of 100: s0, s2; they teach"):
        empty.add(batch(0, 3, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty.add(batch(0, 3, 0))  # the next epoch
        empty.add(batch(0, 1, first=3))
    assert empty.ids == {"s0", "s2", "s3"}


def test_too_many_empty_samples_stop_the_run():
    empty = Empty("songs", 40, 0.05)
    with pytest.warns(UserWarning, match="s0, s1"):
        empty.add(batch(0, 0, 1))
    with pytest.raises(
        SampleError, match=r"3 of 40 samples of songs have no tokens, more than max_empty_fraction=0\.05"
    ):
        empty.add(batch(0, first=7))


def test_a_data_set_without_a_token_is_refused_whatever_the_limit():
    with pytest.raises(SampleError, match="2 of 2 samples of songs have no tokens.*: s0, s1; repair"):
        Empty("songs", 2, 1.0).add(batch(0, 0))


def test_what_is_only_written_is_not_empty():
    empty = Empty("songs", 100, 0.0)
    empty.add(batch(0, 1, answers=2))
    assert not empty.ids
