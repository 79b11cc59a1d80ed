from dataclasses import replace
from functools import partial

import torch
from omniformer_tokenizers import PatchTokenizer, pack

from omniformer.core.norm import LayerNorm
from omniformer.core.positions import Learned
from omniformer.embedders import VectorEmbedder
from omniformer.embedders.mask_token import MaskToken

MASKED = torch.tensor([False, True, True, False])


def embedder():
    torch.manual_seed(0)
    it = VectorEmbedder(
        d_model=6, features=16, axes=2, hidden=partial(MaskToken, init_std=1.0), position=partial(Learned, sizes=[2, 2])
    )
    torch.nn.init.normal_(it.map.bias)
    return it


def packed(seed=0, **features):
    picture = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(seed))
    tokens = pack([PatchTokenizer(patch_size=4, channels=1)(picture)])
    return replace(tokens, features={**tokens.features, **features})


def test_a_hidden_patch_is_the_vector_and_its_place_whatever_it_shows():
    it = embedder()
    x, other = it(packed(masked=MASKED)), it(packed(seed=1, masked=MASKED))
    assert torch.equal(x[MASKED], other[MASKED])
    assert torch.equal(x[MASKED], it.hidden.vector + it.position.table.view(4, 6)[MASKED])
    assert torch.equal(x[~MASKED], it(packed())[~MASKED])


def test_only_what_is_seen_moves_the_map():
    it = embedder()
    it(packed(masked=torch.ones(4, dtype=torch.bool))).sum().backward()
    assert not it.map.weight.grad.any() and not it.map.bias.grad.any()
    assert it.hidden.vector.grad.tolist() == [4.0] * 6


def test_where_nothing_is_hidden_the_vector_has_a_gradient_of_zero():
    it = embedder()
    it(packed()).sum().backward()
    assert it.hidden.vector.grad is not None and not it.hidden.vector.grad.any()


def test_the_norm_is_of_the_map_alone():
    it = VectorEmbedder(d_model=6, features=16, norm=LayerNorm, hidden=MaskToken)
    assert not it(packed(masked=MASKED))[MASKED].any()
