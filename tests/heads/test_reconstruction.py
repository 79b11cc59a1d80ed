import torch

from omniformer.core.layout import Layout
from omniformer.heads.reconstruction import ReconstructionHead


def test_every_token_gets_its_numbers_by_one_linear_map():
    head, x = ReconstructionHead(d_model=4, features=6), torch.randn(3, 4)
    assert head.per_token
    assert not head(x, Layout.from_lengths(1, 2)).any()
    torch.nn.init.normal_(head.values.weight)
    torch.testing.assert_close(head.predict(head(x, Layout.from_lengths(1, 2))), x @ head.values.weight.T)
