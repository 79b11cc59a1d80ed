"""What stands before the scores of hidden ids."""

import torch
from torch.nn import functional as F

from omniformer.core.layout import Layout
from omniformer.heads import NextTokenHead, Transform


def test_it_is_a_map_an_activation_and_a_norm():
    transform = Transform(d_model=8, activation="relu", eps=1e-3)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    expected = F.layer_norm(F.linear(x, transform.map.weight, transform.map.bias).relu(), (8,), eps=1e-3)
    torch.testing.assert_close(transform(x), expected)


def test_it_has_no_offset_where_none_is_wanted():
    assert sorted(name for name, _ in Transform(d_model=8, bias=False).named_parameters()) == [
        "map.weight",
        "norm.weight",
    ]


def test_a_head_transforms_scales_and_adds_an_offset():
    head = NextTokenHead(d_model=8, vocab_size=5, transform=Transform, bias=True, scale=0.5)
    torch.nn.init.normal_(head.ids.bias, generator=torch.Generator().manual_seed(1))
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    expected = 0.5 * head.transform(x) @ head.ids.weight.T + head.ids.bias
    torch.testing.assert_close(head(x, Layout.from_lengths(4)), expected)
    targets = torch.tensor([0, 4, 2, 2])
    torch.testing.assert_close(head.losses(x, targets), F.cross_entropy(expected, targets, reduction="none"))
