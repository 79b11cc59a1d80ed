from functools import partial

import torch
from omniformer_tokenizers import PatchTokenizer, pack

from omniformer.core.positions import Stretched
from omniformer.embedders import NativeSizeEmbedder
from omniformer.embedders.native_size import sizes_of

CUT = PatchTokenizer(patch_size=4, channels=1)


def test_each_patch_gets_its_map_and_the_vector_of_its_place_in_its_own_picture():
    made = NativeSizeEmbedder(d_model=8, features=16, position=partial(Stretched, n_places=3))
    pictures = [torch.rand(1, 8, 12), torch.rand(1, 20, 4), torch.rand(1, 4, 4)]
    packed = pack([CUT(each) for each in pictures])
    assert sizes_of(packed).tolist() == [[2.0, 3.0]] * 6 + [[5.0, 1.0]] * 5 + [[1.0, 1.0]]
    found = made(packed)
    torch.testing.assert_close(found, made.map(packed.values) + made.position(packed.positions, sizes_of(packed)))
    alone = torch.cat([made(pack([CUT(each)])) for each in pictures])
    torch.testing.assert_close(found, alone)
    assert not torch.allclose(found[0] - made.map(packed.values[0]), found[6] - made.map(packed.values[6]))


def test_of_no_token_there_is_nothing():
    made = NativeSizeEmbedder(d_model=8, features=16, position=partial(Stretched, n_places=3))
    assert made(pack([CUT(torch.rand(1, 0, 0))])).shape == (0, 8)
