"""Maps of few rows in pieces give what ordinary ones give, in every number of rows, pieces and threads."""

import copy
from collections.abc import Iterator

import pytest
import torch
from omniformer_tokenizers import Tokens
from torch import nn

from omniformer.batch import Sample, collate
from omniformer.core import Transformer
from omniformer.core.rules import Causal
from omniformer.embedders import IdEmbedder
from omniformer.few_rows import for_few_rows
from omniformer.generation import Greedy, write
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.quantization import quantize

WIDTH = 128


@pytest.fixture
def model():
    return OmniFormer(
        core=Transformer(d_model=WIDTH, n_layers=2, n_heads=2),
        embedders={"text": IdEmbedder(d_model=WIDTH, vocab_size=301)},
        heads={"lm": NextTokenHead(d_model=WIDTH, vocab_size=301)},
        rules={"lm": Causal()},
    ).eval()


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def answers(model):
    texts = [Tokens(values=torch.arange(n), positions=torch.arange(float(n))[:, None], modality="text") for n in (3, 7)]
    batch = collate([Sample(id=str(i), pieces=[], answer=[text]) for i, text in enumerate(texts)])
    return [best for (best,) in write(model, "lm", batch, strategy=Greedy(), max_new_tokens=12)]


@pytest.mark.quick("1-6-1-True", "2-7-1-True", "3-9-301-False", "1-1-1-False")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 301], ids=["1", "301"])
@pytest.mark.parametrize("rows", [1, 2, 6, 7, 9, 64, 65])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_map_in_pieces_is_the_map_in_double_precision(n_threads, rows, outputs, bias, threads):
    torch.set_num_threads(n_threads)
    plain = nn.Linear(96, 384 if outputs == 1 else outputs, bias=bias)
    map_ = copy.deepcopy(plain)
    assert for_few_rows(map_) == 1
    x = torch.randn(rows, 1, 96)
    with torch.inference_mode():
        found, wanted = map_(x), plain.double()(x.double())
    assert found.shape == wanted.shape
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_few_rows_are_multiplied_in_pieces_and_many_or_learned_ones_as_ever(monkeypatch, threads):
    torch.set_num_threads(2)
    map_, batched, bmm = nn.Linear(128, 512, bias=False), [], torch.bmm
    for_few_rows(map_)
    monkeypatch.setattr(torch, "bmm", lambda *given: batched.append(given[0].shape[0]) or bmm(*given))
    with torch.inference_mode():
        for rows in (1, 8, 65, 0):
            map_(torch.randn(rows, 128))
    map_(torch.randn(1, 128)).sum().backward()
    assert batched == [2, 2]  # as many as threads
    assert map_.weight.grad is not None


def test_a_model_writes_what_it_wrote_before(model):
    other = copy.deepcopy(model)
    assert for_few_rows(other) == 2 * 4 + 1  # heads in and out, up and down, of two layers, and the scores of ids
    for before, after in zip(answers(model), answers(other), strict=True):
        assert after.ids == before.ids
        assert after.log_probs == pytest.approx(before.log_probs, abs=1e-5)


def test_names_values_ties_and_hooks_stay(model):
    before, seen = {name: each.clone() for name, each in model.state_dict().items()}, []
    model.core.blocks[0].feedforward.branch.up.register_forward_hook(lambda *_: seen.append(1))
    for_few_rows(model)
    after = model.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items()) and list(after) == list(before)
    assert model.heads["lm"].ids.weight is model.embedders["text"].table.weight
    assert for_few_rows(model) == 0
    answers(model)
    assert seen


def test_rounded_weights_small_ones_and_other_types_stay(model):
    quantize(model, "int8")
    assert for_few_rows(model) == 0
    assert for_few_rows(nn.Linear(128, 512, dtype=torch.bfloat16)) == 0
    assert for_few_rows(nn.Linear(64, 64)) == 0
    assert for_few_rows(nn.Linear(512, 100)) == 0
    assert for_few_rows(nn.Linear(128, 512, device="meta")) == 0


def test_a_map_that_was_cast_later_multiplies_as_ever():
    map_ = nn.Linear(128, 512)
    for_few_rows(map_)
    with torch.inference_mode():
        assert map_.to(torch.bfloat16)(torch.randn(1, 128, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_maps_of_few_rows_are_rounded_as_others_are(model, kind):
    other = copy.deepcopy(model)
    for_few_rows(other)
    for each in (model, other):
        quantize(each, kind)
    assert answers(model) == answers(other)
