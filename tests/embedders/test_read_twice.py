import pytest
import torch
from omniformer_tokenizers import Packed

from omniformer.core.positions import Learned
from omniformer.embedders import IdEmbedder, ReadTwice


def ids(*values, lengths):
    places = torch.cat([torch.arange(float(n)) for n in lengths])[:, None]
    return Packed(values=torch.tensor(values), positions=places, modality="text", lengths=torch.tensor(lengths))


def test_the_decoder_reads_the_id_before_each_and_at_first_the_start_in_every_sample():
    made = [IdEmbedder(d_model=4, vocab_size=9, position=lambda **o: Learned(sizes=[5], **o)) for _ in range(2)]
    packed = ids(5, 6, 7, 8, 1, lengths=[2, 0, 3])
    found = ReadTwice(read=made[0], written=made[1], start=3)(packed)
    expected = made[1](ids(3, 5, 3, 7, 8, lengths=[2, 0, 3]))
    torch.testing.assert_close(found, torch.cat([made[0](packed), expected], dim=1))


def test_of_no_token_there_is_nothing():
    made = ReadTwice(**{name: IdEmbedder(d_model=4, vocab_size=9) for name in ("read", "written")}, start=3)
    none = Packed(
        values=torch.zeros(0, dtype=torch.long),
        positions=torch.zeros(0, 1),
        modality="text",
        lengths=torch.tensor([0, 0]),
    )
    assert made(none).shape == (0, 8)


def test_a_start_that_is_no_id_is_refused():
    with pytest.raises(ValueError, match="start=9 is no id of a vocabulary of 9"):
        ReadTwice(read=IdEmbedder(d_model=4, vocab_size=9), written=IdEmbedder(d_model=4, vocab_size=9), start=9)
