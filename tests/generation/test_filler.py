from dataclasses import replace

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, CharacterTokenizer, PixelTokenizer, WordTokenizer

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, Maskable
from omniformer.generation.filler import Filler
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer

WORDS = WordTokenizer().fit(["the cat sat on the mat"])


def filler_of(tokenizer=WORDS, modality="text"):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "vocab_size": tokenizer.facts["vocab_size"]}
    embedder = Maskable(d_model=16, embedder=IdEmbedder(**sizes, init_std=0.5))
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.3),
        embedders={modality: embedder},
        heads={"holes": NextTokenHead(**sizes, modality=modality)},
    )
    return Filler(model.eval(), "holes", tokenizers={modality: tokenizer})


def test_words_are_those_with_the_best_scores_at_the_hidden_tokens():
    filler = filler_of()
    ((first, second),) = filler.fill([("a", "the [MASK] sat on [MASK] mat")], top=3)
    assert (first.token, second.token) == (1, 4)
    masked = torch.tensor([False, True, False, False, True, False])
    piece = replace(WORDS("the cat sat on cat mat"), features={"masked": masked})
    x = filler.model(collate([Sample(id="a", pieces=[piece])]), "holes")[1].softmax(-1).detach()
    expected = {WORDS.decode([i]): float(x[i]) for i in x.topk(3).indices.tolist()}
    # Special ids say nothing by themselves; they are called by their names.
    assert [said.replace("<|endoftext|>", "") for said in first.probabilities] == list(expected)
    assert list(first.probabilities.values()) == pytest.approx(list(expected.values()), rel=1e-5)


def test_texts_do_not_see_each_other():
    filler, texts = filler_of(), [("a", "the [MASK] sat"), ("b", "[MASK][MASK] mat"), ("c", "on the [MASK]")]
    together = filler.fill(texts)
    for given, holes in zip(texts, together, strict=True):
        (alone,) = filler.fill([given])
        assert [hole.token for hole in alone] == [hole.token for hole in holes]
        for one, other in zip(alone, holes, strict=True):
            assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-6)


def test_a_hole_may_be_a_character():
    tokenizer = CharacterTokenizer().fit(["the cat"])
    ((hole,),) = filler_of(tokenizer).fill([("a", "the [MASK]at")])
    assert hole.token == 4


def test_the_blank_before_a_hole_belongs_to_the_byte_pairs_in_it():
    tokenizer = BPETokenizer(vocab_size=270).fit(["the cat sat"])
    ((hole,),) = filler_of(tokenizer).fill([("a", "the [MASK] sat")])
    assert hole.token == len(tokenizer("the"))


def test_more_words_than_there_are_are_all_of_them():
    ((hole,),) = filler_of().fill([("a", "[MASK]")], top=1000)
    assert sum(hole.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_files_are_read(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the [MASK]")
    assert filler_of().fill([("a", path)])[0][0].token == 1


def test_a_text_without_a_hole_is_named():
    with pytest.raises(ValueError, match=r"second hides nothing; write \[MASK\] where a word is to be found"):
        filler_of().fill([("first", "the [MASK]"), ("second", "the cat")])


def test_what_is_no_text_is_refused():
    with pytest.raises(ValueError, match="first is a tuple; give one text"):
        filler_of().fill([("first", ("a", "b"))])


def test_only_text_can_be_written_down():
    with pytest.raises(ValueError, match="'holes' finds hidden tokens of pixels; only those of text"):
        filler_of(PixelTokenizer(channels=1), "pixels")
