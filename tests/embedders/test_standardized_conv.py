"""Convolutions of standardized filters."""

import pytest
import torch
from timm.layers import ScaledStdConv2d

from omniformer.embedders.standardized_conv import StandardizedConv2d


def test_it_equals_that_of_timm_with_its_weights():
    torch.manual_seed(0)
    mine, theirs = StandardizedConv2d(3, 8), ScaledStdConv2d(3, 8, 3, padding=1, gamma=2**0.5)
    torch.nn.init.normal_(mine.bias)
    torch.nn.init.normal_(mine.gain)
    with torch.no_grad():
        theirs.weight.copy_(mine.weight)
        theirs.bias.copy_(mine.bias)
        theirs.gain.copy_(mine.gain[:, None, None, None])
    images = torch.randn(2, 3, 9, 7)
    torch.testing.assert_close(mine(images), theirs(images))


def test_neither_the_size_of_filters_nor_what_they_have_in_common_counts():
    conv, images = StandardizedConv2d(3, 8), torch.randn(2, 3, 9, 7)
    before = conv(images)
    with torch.no_grad():
        conv.weight.mul_(3).add_(2)
    torch.testing.assert_close(conv(images), before, rtol=1e-4, atol=1e-4)


def test_numbers_of_channels_are_counts():
    with pytest.raises(ValueError, match="out_channels=0"):
        StandardizedConv2d(3, 0)
