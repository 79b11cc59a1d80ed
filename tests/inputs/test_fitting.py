import logging

import torch
from omniformer_tokenizers import ByteTokenizer

from omniformer.batch import Sample
from omniformer.core.positions import Learned
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.inputs.fitting import fitted, places
from omniformer.model import OmniFormer

TEXT = ByteTokenizer()


def model_with(n):
    def position(**sizes):
        return Learned(**sizes, sizes=[n])

    embedder = IdEmbedder(d_model=8, vocab_size=257, position=position)
    return OmniFormer(core=Transformer(d_model=8, n_layers=1, n_heads=1), embedders={"text": embedder}, heads={})


def test_what_is_cut_is_named_once(caplog):
    model, samples = model_with(3), [Sample(id=f"input {i}", pieces=[TEXT("a" * i)]) for i in range(7)]
    assert places(model, "text") == 3
    with caplog.at_level(logging.WARNING):
        found = fitted(samples, model, {"text": TEXT})
    assert [len(each) for each in found] == [0, 1, 2, 3, 3, 3, 3]
    (message,) = caplog.messages
    assert "input 4 (4 tokens of text, of which 3 are read), input 5" in message and "truncate=False" in message
    assert "input 3" not in message
    assert torch.equal(found[5].pieces[0].values, samples[5].pieces[0].values[:3])


def test_where_all_fits_nothing_is_said(caplog):
    assert len(fitted([Sample(id="a", pieces=[TEXT("abc")])], model_with(3), {"text": TEXT})[0]) == 3
    assert caplog.messages == []


def test_without_an_end_of_positions_nothing_is_cut():
    model = OmniFormer(
        core=Transformer(d_model=8, n_layers=1, n_heads=1),
        embedders={"text": IdEmbedder(d_model=8, vocab_size=257)},
        heads={},
    )
    assert places(model, "text") is None
    assert len(fitted([Sample(id="a", pieces=[TEXT("abc" * 99)])], model, {"text": TEXT})[0]) == 297
