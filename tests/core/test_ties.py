"""Weights that several parts share."""

import pytest
import torch
from torch import nn

from omniformer.core.ties import tie


def test_both_names_mean_one_weight_from_then_on():
    pair = nn.ModuleDict({"read": nn.Embedding(9, 4), "write": nn.Linear(4, 9, bias=False)})
    tie(pair, "write.weight", "read.weight")
    with torch.no_grad():
        pair["read"].weight.fill_(3)
    assert pair["write"].weight.unique().tolist() == [3]
    assert len(list(pair.parameters())) == 1


def test_names_and_shapes_that_do_not_fit_are_told():
    pair = nn.ModuleDict({"read": nn.Embedding(9, 4), "write": nn.Linear(4, 8, bias=False)})
    with pytest.raises(ValueError, match=r"write.weight has shape \[8, 4\], read.weight has \[9, 4\]"):
        tie(pair, "write.weight", "read.weight")
    with pytest.raises(ValueError, match="ties.wrote.weight"):
        tie(pair, "wrote.weight", "read.weight")
