import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads.ctc import CTCHead


def test_the_blank_stands_behind_the_ids_and_all_start_equally_likely():
    head = CTCHead(d_model=4, vocab_size=5)
    outputs = head(torch.randn(3, 4), Layout.from_lengths(1, 2))
    assert head.per_token
    assert head.blank == 5
    torch.testing.assert_close(head.predict(outputs), torch.full((3, 6), 1 / 6))


def test_one_of_the_ids_may_be_the_blank():
    head = CTCHead(d_model=4, vocab_size=5, blank=0)
    assert head(torch.randn(3, 4), Layout.from_lengths(1, 2)).shape == (3, 5)
    assert head.blank == 0
    with pytest.raises(ValueError, match="blank=5 is none of the ids 0 to 4"):
        CTCHead(d_model=4, vocab_size=5, blank=5)
