import pytest
import torch

from omniformer.config import BuildError
from omniformer.inspection.whole import build_on_meta

CORE = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 8, "n_layers": 1, "n_heads": 2}
TEXT = {"_target_": "omniformer.embedders.IdEmbedder", "vocab_size": 11}
HEAD = {"_target_": "omniformer.heads.NextTokenHead", "vocab_size": 11}


def test_parts_take_their_width_from_the_core_and_nothing_is_allocated():
    whole = build_on_meta({"core": CORE, "parts": {"text": TEXT, "head": HEAD}})
    assert whole["text"].table.weight.shape == (11, 8)
    assert {tensor.device for tensor in [*whole.parameters(), *whole.buffers()]} == {torch.device("meta")}


def test_a_part_may_have_a_width_of_its_own():
    whole = build_on_meta({"core": CORE, "parts": {"text": {**TEXT, "d_model": 4}}})
    assert whole["text"].table.weight.shape == (11, 4)


def test_tied_weights_are_one():
    config = {"core": CORE, "parts": {"text": TEXT, "head": HEAD}, "ties": {"head.ids.weight": "text.table.weight"}}
    whole = build_on_meta(config)
    assert whole["head"].ids.weight is whole["text"].table.weight


def test_a_tie_that_cannot_be_is_refused():
    parts = {"text": TEXT, "head": {**HEAD, "vocab_size": 12}}
    with pytest.raises(BuildError, match=r"head.ids.weight has shape \[12, 8\], text.table.weight has \[11, 8\]"):
        build_on_meta({"core": CORE, "parts": parts, "ties": {"head.ids.weight": "text.table.weight"}})
    with pytest.raises(BuildError, match=r"ties.head.nothing.weight: .*nothing"):
        build_on_meta({"core": CORE, "parts": parts, "ties": {"head.nothing.weight": "text.table.weight"}})
