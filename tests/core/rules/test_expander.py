"""Random links join all tokens of a sample and none of two, the same ones wherever the sample stands."""

import networkx
import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Expander, Neighbours, Self, exphormer


def graph(mask):
    return networkx.from_numpy_array(mask.numpy())


def test_every_token_has_two_links_a_cycle_and_all_are_a_few_steps_apart():
    mask = Expander(cycles=1).mask(Layout.from_lengths(200))
    assert torch.equal(mask, mask.T) and mask.sum(1).tolist() == [2] * 200
    assert networkx.is_connected(graph(mask))  # one cycle, not several
    assert networkx.diameter(graph(mask)) == 100
    two = Expander(cycles=2).mask(Layout.from_lengths(200))
    assert two.sum(1).max() == 4
    assert networkx.diameter(graph(two)) <= 10


def test_samples_are_not_joined_and_their_links_are_the_same_in_every_batch():
    alone = Expander(seed=3).mask(Layout.from_lengths(30))
    among = Expander(seed=3).mask(Layout.from_lengths(7, 30, 1, 0, 2))
    assert torch.equal(among[7:37, 7:37], alone)
    among[7:37, 7:37] = False
    assert not among[:7, 7:].any() and not among[7:].narrow(1, 0, 7).any()
    assert among[37:].nonzero().tolist() == [[1, 39], [2, 38]]  # one token has nobody, two have each other
    assert not torch.equal(Expander(seed=4).mask(Layout.from_lengths(30)), alone)


def test_listed_pairs_are_those_that_attend():
    layout = Layout(lengths=torch.tensor([5, 9]), edges=torch.tensor([[0, 6], [1, 7]]))
    for rule in (Expander(), exphormer()):
        pairs, mask = rule.pairs(layout), rule.mask(layout)
        assert pairs is not None
        assert pairs.T.tolist() == mask.nonzero().tolist()
    links = Neighbours().mask(layout) | Self().mask(layout) | Expander().mask(layout)
    assert torch.equal(exphormer().mask(layout), links)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="cycles=0"):
        Expander(cycles=0)
    with pytest.raises(ValueError, match="Expander links tokens of one sequence"):
        Expander().mask(Layout(lengths=torch.tensor([1]), start=torch.tensor([2])), Layout.from_lengths(3))
