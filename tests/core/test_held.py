"""The layout of tokens in a cache equals the ordinary one, and numbers nothing before somebody asks."""

import pytest
import torch

from omniformer.core.cache import KVCache
from omniformer.core.held import HeldLayout
from omniformer.core.layout import Layout


@pytest.mark.parametrize(
    "others",
    [{}, {"start": torch.tensor([4, 0, 2])}, {"places": torch.tensor([5, 0, 1])}],
    ids=["none", "start", "places"],
)
def test_it_says_what_a_layout_says(others):
    lengths = torch.tensor([2, 0, 1])
    ours, plain = HeldLayout(lengths=lengths, **others), Layout(lengths=lengths, **others)
    for name in ("n_tokens", "n_samples", "device"):
        assert getattr(ours, name) == getattr(plain, name)
    for name in ("offsets", "sample", "index"):
        assert getattr(ours, name).equal(getattr(plain, name))
    assert ours.to("cpu").index.equal(plain.index)
    with pytest.raises(ValueError, match="positions has 1 rows"):
        HeldLayout(lengths=lengths, positions=torch.zeros(1, 1))


def test_a_step_of_decoding_numbers_no_held_token():
    cache = KVCache(n_layers=1, n_samples=2)
    for counts in ([3, 3], [1, 1]):
        cache.extend(torch.tensor(counts), positions=torch.zeros(sum(counts), 1))
        k, _ = cache.layers[0].append(torch.ones(sum(counts), 1, 2), torch.ones(sum(counts), 1, 2))
    assert k.shape == (2, 4, 1, 2) and "_numbers" not in vars(cache.seen)
    assert cache.seen.index.tolist() == [0, 1, 2, 3] * 2 and "_numbers" in vars(cache.seen)
