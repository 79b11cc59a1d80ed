"""Tokens that were replaced."""

import torch
from torch.nn import functional as F

from omniformer.core.layout import Layout
from omniformer.heads import ReplacedHead

LAYOUT = Layout.from_lengths(2, 0, 3)


def test_one_logit_for_each_token_and_probabilities_of_both():
    head = ReplacedHead(d_model=4, activation="relu")
    torch.nn.init.normal_(head.score.weight)
    x = torch.randn(5, 4)
    expected = F.relu(x @ head.map.weight.T + head.map.bias) @ head.score.weight.T + head.score.bias
    outputs = head(x, LAYOUT)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(head.published(x, LAYOUT)["logits"], expected[:, 0])
    probabilities = head.predict(outputs)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5))
    torch.testing.assert_close(probabilities[:, 1], expected[:, 0].sigmoid())


def test_both_are_equally_likely_at_the_start():
    head = ReplacedHead(d_model=4)
    assert torch.equal(head.predict(head(torch.randn(5, 4), LAYOUT)), torch.full((5, 2), 0.5))
