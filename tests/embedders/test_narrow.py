"""Tables that are narrower than the core."""

import torch
from omniformer_tokenizers import Tokens, pack

from omniformer.core.norm import LayerNorm
from omniformer.embedders import IdEmbedder, NarrowIdEmbedder

PACKED = pack([Tokens(values=torch.tensor([1, 4, 1]), positions=torch.zeros(3, 1), modality="text")])


def test_it_is_an_embedder_of_few_features_and_a_map():
    narrow = NarrowIdEmbedder(d_model=6, d_table=3, vocab_size=5, norm=LayerNorm)
    plain = IdEmbedder(d_model=3, vocab_size=5, norm=LayerNorm)
    plain.table, plain.norm = narrow.table, narrow.norm
    expected = plain(PACKED) @ narrow.map.weight.T + narrow.map.bias
    torch.testing.assert_close(narrow(PACKED), expected)
    assert narrow.table.weight.shape == (5, 3)
    assert narrow.reads.ids == 5
