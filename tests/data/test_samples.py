"""What all examples have in common, however they are arranged: lengths that are found out once, and who is bad."""

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample
from omniformer.data.samples import SampleError, Samples, check_bad


class Counted(Samples):
    """Examples of these many tokens; of None one that cannot be read."""

    def __init__(self, sizes):
        self.sizes, self.made = sizes, []

    def __len__(self):
        return len(self.sizes)

    def id(self, index):
        return f"s{index}"

    def __call__(self, epoch, index):
        self.made.append((epoch, index))
        if (n := self.sizes[index]) is None:
            raise SampleError(f"{self.id(index)} is torn")
        tokens = Tokens(values=torch.zeros(n).long(), positions=torch.zeros(n, 1), modality="text")
        return Sample(id=self.id(index), pieces=[tokens])


def test_lengths_are_those_of_epoch_0_and_each_example_is_made_once():
    samples = Counted([1, 0, 3])
    assert samples.lengths() == samples.lengths() == [1, 0, 3]
    assert samples.made == [(0, 0), (0, 1), (0, 2)]


def test_an_example_that_cannot_be_read_ends_the_count_or_counts_nothing():
    with pytest.raises(SampleError, match="s1 is torn"):
        Counted([1, None, 3]).lengths()
    assert Counted([1, None, 3]).lengths(skip=True) == [1, 0, 3]


def test_one_bad_sample_is_too_many_only_where_none_may_be():
    check_bad(["a"], 10, 0.001, "x")
    with pytest.raises(SampleError, match="1 of 10 samples of x cannot be read, more than max_bad_fraction=0"):
        check_bad(["a"], 10, 0.0, "x")
    check_bad(["a", "b"], 20, 0.1, "x")
    with pytest.raises(SampleError, match="3 of 20 samples of x cannot be read, more than max_bad_fraction=0.1: a, b"):
        check_bad(["a", "b", "c"], 20, 0.1, "x")
