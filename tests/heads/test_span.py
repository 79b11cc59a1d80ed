import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads.span import SpanHead, best_spans


def test_every_token_is_scored_as_start_and_as_end_and_all_start_alike():
    head = SpanHead(d_model=4)
    assert head.per_token
    assert not head(torch.randn(3, 4), Layout.from_lengths(3)).any()


@pytest.mark.parametrize("seed", range(10))
def test_the_best_span_of_each_sample_is_that_of_trying_all(seed):
    lengths = [4, 0, 1, 7]
    scores = torch.randn(12, 2, generator=torch.Generator().manual_seed(seed))
    expected, begin = [], 0
    for n in lengths:
        part = scores[begin : begin + n]
        begin += n
        tried = {(i, j): float(part[i, 0] + part[j, 1]) for i in range(n) for j in range(i, n)}
        expected.append(list(max(tried, key=lambda span: tried[span])) if n else [-1, -1])
    assert best_spans(scores, Layout.from_lengths(*lengths)).tolist() == expected


def test_no_tokens_at_all_have_no_spans():
    assert best_spans(torch.zeros(0, 2), Layout.from_lengths(0, 0)).tolist() == [[-1, -1], [-1, -1]]
