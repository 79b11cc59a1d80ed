"""Weights that lie column after column give what they gave before."""

import copy

import pytest
import torch
from omniformer_tokenizers import Tokens
from torch import nn

from omniformer.batch import Sample, collate
from omniformer.columns import by_columns
from omniformer.core import Transformer
from omniformer.core.rules import Causal
from omniformer.embedders import IdEmbedder
from omniformer.generation import Greedy, write
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.quantization import quantize

WIDTH = 128


@pytest.fixture
def model():
    return OmniFormer(
        core=Transformer(d_model=WIDTH, n_layers=2, n_heads=2),
        embedders={"text": IdEmbedder(d_model=WIDTH, vocab_size=300)},
        heads={"lm": NextTokenHead(d_model=WIDTH, vocab_size=300)},
        rules={"lm": Causal()},
    ).eval()


def answers(model):
    texts = [Tokens(values=torch.arange(n), positions=torch.arange(float(n))[:, None], modality="text") for n in (3, 7)]
    batch = collate([Sample(id=str(i), pieces=[], answer=[text]) for i, text in enumerate(texts)])
    return [best for (best,) in write(model, "lm", batch, strategy=Greedy(), max_new_tokens=12)]


def test_a_model_writes_what_it_wrote_before(model):
    other = copy.deepcopy(model)
    assert by_columns(other) == 2 * 2 + 1  # into heads and up, of two layers, and the table that is tied to the scores
    for before, after in zip(answers(model), answers(other), strict=True):
        assert after.ids == before.ids
        assert after.log_probs == pytest.approx(before.log_probs, abs=1e-5)


def test_names_values_and_ties_stay_and_only_maps_that_widen_are_laid_anew(model):
    before = {name: each.clone() for name, each in model.state_dict().items()}
    by_columns(model)
    after = model.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items()) and list(after) == list(before)
    laid = {name for name, each in after.items() if not each.is_contiguous()}
    assert {name.rpartition(".branch.")[2] for name in laid if "blocks" in name} == {"qkv.weight", "up.weight"}
    assert model.heads["lm"].ids.weight is model.embedders["text"].table.weight
    assert by_columns(model) == 0


def test_rounded_weights_and_other_types_stay(model):
    quantize(model, "int8")
    assert by_columns(model) == 0
    assert by_columns(nn.Linear(128, 512, dtype=torch.bfloat16)) == 0
    assert by_columns(nn.Linear(512, 128)) == 0
    assert by_columns(nn.Linear(128, 512, device="meta")) == 0


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_weights_that_lie_by_columns_are_rounded_as_others_are(model, kind):
    other = copy.deepcopy(model)
    by_columns(other)
    for each in (model, other):
        quantize(each, kind)
    assert answers(model) == answers(other)
