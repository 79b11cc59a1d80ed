import torch

from omniformer.core.layout import Layout
from omniformer.heads.link import LinkHead


def test_scores_are_inner_products_that_do_not_ask_which_comes_first():
    torch.manual_seed(0)
    head, x = LinkHead(d_model=4, d_link=6), torch.randn(5, 4)
    with torch.no_grad():
        head.offset.fill_(0.5)
        vectors = head(x, Layout.from_lengths(5))
        scores = head.scores(vectors, torch.tensor([[0, 3], [3, 0], [1, 1]]))
        z = x @ head.map.weight.T
        expected = torch.stack([z[0] @ z[3], z[0] @ z[3], z[1] @ z[1]]) / 6**0.5 + 0.5
    torch.testing.assert_close(scores, expected)
    assert head.per_token
    torch.testing.assert_close(head.predict(vectors), z)
