import torch
from torch.nn import functional as F

from omniformer.core.layout import Layout
from omniformer.heads import MultiTokenHead, NextTokenHead
from omniformer.heads.multi_token import ResidualMap


def head():
    torch.manual_seed(0)
    made = MultiTokenHead(d_model=8, vocab_size=5, n_further=2, tied=False, bias=True)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def test_the_next_token_is_scored_as_ever():
    several, x = head(), torch.randn(4, 8)
    one = NextTokenHead(d_model=8, vocab_size=5, tied=False, bias=True)
    one.load_state_dict(several.state_dict(), strict=False)
    assert torch.equal(several(x, Layout.from_lengths(4)), one(x, Layout.from_lengths(4)))


def test_further_places_have_maps_of_their_own_and_share_the_table():
    made, x, targets = head(), torch.randn(4, 8), torch.tensor([0, 4, 2, 1])
    for place in (1, 2):
        given = made.further[place - 1].map
        inner = x @ given.weight.T + given.bias
        expected = (x + inner / (1 + (-inner).exp())) @ made.ids.weight.T + made.ids.bias
        torch.testing.assert_close(made.further_scores(x, place), expected, rtol=1e-4, atol=1e-5)
        losses = made.further_losses(x, targets, place)
        torch.testing.assert_close(losses, F.cross_entropy(expected, targets, reduction="none"), rtol=1e-4, atol=1e-5)


def test_a_fresh_map_changes_nothing():
    x = torch.randn(3, 4)
    assert torch.equal(ResidualMap(4)(x), x)
