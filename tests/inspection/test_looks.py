"""What a model looks at in raw inputs: reading, and writing an answer."""

from dataclasses import replace

import pytest
import torch
from omniformer_tokenizers import CharacterTokenizer, PatchTokenizer, WordTokenizer, framed

from omniformer.batch import Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.registers import Registers
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.heads.attention_pooling import MultiheadAttentionPool
from omniformer.heads.pooling import FirstToken, MeanPool, RampPool
from omniformer.inputs.member import Member
from omniformer.inspection.alignment import alignment
from omniformer.inspection.looks import look, look_at, spelled
from omniformer.inspection.maps import attention_maps, modality_flow, rollout
from omniformer.model import OmniFormer
from omniformer.predictor import Predictor

WORDS = WordTokenizer().fit(["a dog runs in the snow"])
PATCHES = PatchTokenizer(patch_size=4, channels=1)
PICTURE = torch.randint(0, 256, (1, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SIZES = {"d_model": 16, "n_layers": 2, "n_heads": 2, "init_std": 0.5}


def reader(*, core=None, pool=MeanPool, rule=None, head=None):
    """A model that reads pictures and texts; no weight is 0, so that something is said."""
    torch.manual_seed(0)
    vocab_size = WORDS.facts["vocab_size"]
    model = OmniFormer(
        core=core or Transformer(**SIZES),
        embedders={
            "vision": VectorEmbedder(d_model=16, features=16, axes=2),
            "text": IdEmbedder(d_model=16, vocab_size=vocab_size),
        },
        heads={"it": head or ClassificationHead(d_model=16, n_classes=2, pool=pool)},
        rules={"it": rule} if rule else {},
    )
    member = Member(tokenizers={"vision": PATCHES, "text": WORDS}, labels=() if head else ("cat", "dog"))
    return Predictor(model, {"it": member})


def writer():
    torch.manual_seed(4)
    vocab_size = WORDS.facts["vocab_size"]
    encoder, decoder = Transformer(**SIZES), Transformer(**SIZES, block=CrossBlock)
    model = OmniFormer(
        core=EncoderDecoder(encoder=encoder, decoder=decoder),
        embedders={
            "vision": VectorEmbedder(d_model=16, features=16, axes=2),
            "text": IdEmbedder(d_model=16, vocab_size=vocab_size),
        },
        heads={"it": NextTokenHead(d_model=16, vocab_size=vocab_size, tied=False)},
        rules={"it": Causal()},
    )
    torch.nn.init.normal_(model.heads["it"].ids.weight)
    return Predictor(model, {"it": Member(tokenizers={"vision": PATCHES, "text": WORDS}, given=("vision", "text"))})


def test_reading_counts_tokens_through_all_layers_and_in_each():
    predictor = reader()
    (found,) = look(predictor, [[PICTURE, "a dog"]])
    model = predictor.model
    batch = collate([Sample(id="a", pieces=[PATCHES(PICTURE), WORDS("a dog")])])
    x, layout = model.embed(batch)
    maps = attention_maps(model.core, x, layout)
    assert found.labels == ["all layers", "layer 1", "layer 2"]
    torch.testing.assert_close(found.weights[0], rollout(maps)[0].mean(0))
    torch.testing.assert_close(found.weights[2], maps[1][0].mean((0, 1)))
    assert [part.shape for part in found.parts] == [(3, 6), (3, 2)]
    torch.testing.assert_close(found.flow, modality_flow(maps, layout, 2))
    assert found.entropy.shape == found.effects.shape == (2, 2) and found.said.startswith(("cat 0.5", "dog 0.5"))


@pytest.mark.parametrize(
    ("pool", "counts"),
    [(MeanPool, [1 / 3] * 3), (FirstToken, [1.0, 0.0, 0.0]), (RampPool, [1 / 6, 2 / 6, 3 / 6])],
)
def test_tokens_of_the_output_count_as_the_head_pools_them(pool, counts):
    (found,) = look(reader(pool=pool), ["a dog runs"])
    torch.testing.assert_close(found.counts, torch.tensor(counts))


def test_where_the_head_does_not_say_all_count_alike_and_of_a_language_model_the_last_one():
    (found,) = look(reader(pool=lambda d_model: MultiheadAttentionPool(d_model=d_model, n_heads=2)), ["a dog runs"])
    torch.testing.assert_close(found.counts, torch.full((3,), 1 / 3))
    model = reader(rule=Causal(), head=NextTokenHead(d_model=16, vocab_size=WORDS.facts["vocab_size"], tied=False))
    (found,) = look(model, ["a dog runs"])
    assert found.counts.tolist() == [0, 0, 1] and found.said == "" and found.flow is None


def test_one_layer_has_a_row_a_head_and_one_head_a_row():
    (found,) = look(reader(), ["a dog runs"])
    assert found.at(2).labels == ["layer 2, head 1", "layer 2, head 2"] and found.at(2, 1).labels == ["layer 2, head 1"]
    torch.testing.assert_close(found.at(2).weights, found.maps[1].mean(1))
    torch.testing.assert_close(found.at(2, 2).weights, found.maps[1][1:].mean(1))
    for at, message in (((3,), "layer: received 3, accepted 1 to 2"), ((1, 0), "head: received 0, accepted 1 to 2")):
        with pytest.raises(ValueError, match=message):
            found.at(*at)


def test_registers_are_passed_through_and_have_no_column():
    (found,) = look(reader(core=Registers(core=Transformer(**SIZES), n_registers=3)), ["a dog runs"])
    assert found.maps[0].shape == (2, 6, 6) and found.weights.shape == (3, 3) and (found.weights.sum(1) < 1).all()


def test_a_head_whose_columns_are_zero_is_idle():
    predictor = reader()
    predictor.model.core.blocks[1].attention.branch.out.weight.data[:, :8] = 0
    (found,) = look(predictor, ["a dog runs"])
    assert found.idle == [(1, 0)]


def test_writing_is_greedy_and_each_word_has_a_row():
    predictor, given = writer(), [PICTURE, "the snow"]
    (found,) = look(predictor, [given])
    ((answer,),) = predictor.generate([given], max_new_tokens=64)
    assert found.said == answer.content and len(found.labels) == len(answer.ids) + answer.ended > 2
    sample = Sample(id="a", pieces=[PATCHES(PICTURE), WORDS("the snow")], answer=[])
    written = replace(sample, answer=[framed(WORDS(answer.content), start=WORDS.start)])
    (weights,) = alignment(predictor.model, "it", collate([written]))
    torch.testing.assert_close(found.weights, weights[: len(found.labels)])
    assert [part.shape[1] for part in found.parts] == [6, 2] and found.effects.shape == (2, 2)
    torch.testing.assert_close(found.at(1, 2).weights, found.maps[0][1, : len(found.labels)])


def test_what_should_have_been_written_is_known_of_data():
    answer = framed(WORDS("a dog"), start=WORDS.start, stop=WORDS.stop)
    found = look_at(writer(), Sample(id="a", pieces=[WORDS("snow")], answer=[answer]), "it", max_new_tokens=3)
    assert found.expected == "a dog" and len(found.words) <= 4


def test_looking_changes_nothing():
    predictor = reader()
    before = predictor.predict(["a dog"])
    look(predictor, ["a dog"])
    assert predictor.predict(["a dog"]) == before
    assert not any(part._forward_pre_hooks for part in predictor.model.modules())


def test_what_cannot_be_looked_at_is_told(monkeypatch):
    with pytest.raises(ValueError, match="a has no token"):
        look_at(reader(), Sample(id="a", pieces=[]), "it")
    linear = reader(core=Transformer(d_model=16, n_layers=1, n_heads=2, attention=LinearAttention))
    with pytest.raises(ValueError, match="Transformer computed no attention weights"):
        look(linear, ["a dog"])
    monkeypatch.setattr("omniformer.inspection.looks._MOST_WEIGHTS", 15)
    with pytest.raises(ValueError, match="input 0 has 2 tokens, between which this model has 16 weights; at most 15"):
        look(reader(), ["a dog"])


def test_heads_of_large_models_are_not_left_out_one_by_one(monkeypatch):
    monkeypatch.setattr("omniformer.inspection.looks.MOST_HEADS", 3)
    (found,) = look(reader(), ["a dog"])
    assert found.effects is None and found.idle == []


def test_tokens_are_spelled_by_what_they_say_and_a_dot_marks_those_that_go_on_a_word():
    class Pieces:
        said = ("A", " star", "ring", " dog", "\n", ".")

        def decode(self, ids):
            return "".join(self.said[i] for i in ids)

    assert spelled(Pieces(), range(6)) == ["A", "star", "·ring", "dog", "\\n", "."]
    letters = CharacterTokenizer().fit(["ab .\n"])
    assert spelled(letters, letters("ab .\n").values.tolist()) == ["a", "b", " ", ".", "\\n"]
