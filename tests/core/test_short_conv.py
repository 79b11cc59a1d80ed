import torch

from omniformer.core.layout import Layout
from omniformer.core.short_conv import ShortConv


def by_hand(conv, sample, before):
    rows = torch.cat([before, sample])
    kernel = len(conv.weight)
    return [sum(conv.weight[i] * rows[place + i] for i in range(kernel)) for place in range(len(sample))]


def test_each_token_sees_itself_and_the_few_before_it():
    torch.manual_seed(0)
    conv, x = ShortConv(3, kernel=3).double(), torch.randn(6, 3, dtype=torch.float64)
    before = torch.randn(3, 2, 3, dtype=torch.float64)
    layout = Layout.from_lengths(1, 0, 5)
    for given in (None, before):
        out, last = conv(x, layout, given)
        known = torch.zeros_like(before) if given is None else given
        expected = [*by_hand(conv, x[:1], known[0]), *by_hand(conv, x[1:], known[2])]
        torch.testing.assert_close(out, torch.stack(expected))
        torch.testing.assert_close(last, torch.stack([torch.cat([known[0, 1:], x[:1]]), known[1], x[4:]]))


def test_an_offset_is_added_where_it_has_one():
    conv, x, layout = ShortConv(3, kernel=3, bias=True), torch.randn(4, 3), Layout.from_lengths(4)
    plain = ShortConv(3, kernel=3)
    plain.load_state_dict(conv.state_dict(), strict=False)
    torch.testing.assert_close(conv(x, layout)[0], plain(x, layout)[0])
    torch.nn.init.normal_(conv.bias)
    torch.testing.assert_close(conv(x, layout)[0], plain(x, layout)[0] + conv.bias)


def test_one_token_alone_needs_nothing_before():
    conv, x = ShortConv(3, kernel=1), torch.randn(4, 3)
    out, last = conv(x, Layout.from_lengths(4))
    torch.testing.assert_close(out, x * conv.weight[0])
    assert last.shape == (1, 0, 3)
