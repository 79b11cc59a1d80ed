import torch

from omniformer.core.layout import Layout
from omniformer.heads.pooling import FirstToken
from omniformer.heads.vector import VectorHead

LAYOUT = Layout.from_lengths(2, 0, 3)


def test_without_a_map_the_vector_is_what_was_pooled():
    x = torch.randn(5, 4)
    head = VectorHead(d_model=4)
    assert not list(head.parameters())
    torch.testing.assert_close(head(x, LAYOUT), torch.stack([x[:2].mean(0), torch.zeros(4), x[2:].mean(0)]))


def test_a_map_has_no_offset_so_that_no_token_is_zero():
    x = torch.randn(5, 4)
    head = VectorHead(d_model=4, d_embedding=3, pool=FirstToken)
    vectors = head.predict(head(x, LAYOUT))
    torch.testing.assert_close(vectors[[0, 2]], x[[0, 2]] @ head.map.weight.T)
    assert not vectors[1].any()
