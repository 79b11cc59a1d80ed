import pytest
import torch

from omniformer.data.augment import Augmentation, Chain, Sometimes


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(raw, generator):
    return raw + float(torch.rand((), generator=generator))


def twice(raw, generator):
    return 2 * raw


class AtOnce(Augmentation):
    """Counts its calls, of which one is enough for many contents."""

    def __init__(self):
        self.calls = 0

    def __call__(self, raw, generator):
        return self.many([raw], [generator])[0]

    def many(self, raws, generators):
        self.calls += 1
        return [noisy(raw, generator) for raw, generator in zip(raws, generators, strict=True)]


@pytest.mark.parametrize(
    "change",
    [
        Augmentation.of(noisy),
        AtOnce(),
        Chain({"a": noisy, "b": twice, "c": noisy}),
        Sometimes(noisy),
        Chain({"a": Sometimes(noisy), "b": Sometimes(twice, p=0.3)}),
    ],
)
def test_many_contents_equal_one_by_one(change):
    raws = [float(n) for n in range(20)]
    found = change.many(raws, [chance(seed) for seed in range(20)])
    assert found == [change(raw, chance(seed)) for seed, raw in enumerate(raws)]


def test_a_chain_goes_in_the_order_of_its_parts_and_hands_all_of_them_on_at_once():
    part = AtOnce()
    assert Chain({"b": twice, "a": lambda raw, _: raw + 1})(5, chance()) == 11
    Chain({"first": twice, "then": part}).many([1.0] * 5, [chance(n) for n in range(5)])
    assert part.calls == 1


def test_some_are_spared():
    changed = [Sometimes(twice, p=0.25)(1, chance(seed)) == 2 for seed in range(400)]
    assert 60 < sum(changed) < 140
    assert Sometimes(twice, p=1)(1, chance()) == 2 and Sometimes(twice, p=0)(1, chance()) == 1
    with pytest.raises(ValueError, match=r"p=1\.5 must be in 0 to 1"):
        Sometimes(twice, p=1.5)
