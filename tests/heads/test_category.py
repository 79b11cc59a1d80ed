import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads.category import CategoryHead


def test_the_categories_of_the_first_field_are_scored_for_every_node():
    head = CategoryHead(d_model=4, vocab_sizes=[5, 2])
    assert head(torch.zeros(3, 4), Layout.from_lengths(1, 2)).shape == (3, 5)


def test_nodes_without_categories_are_refused():
    with pytest.raises(ValueError, match="vocab_sizes is empty"):
        CategoryHead(d_model=4, vocab_sizes=[])
