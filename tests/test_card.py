"""What the card of a model says, and what nobody can make it say."""

import logging

import torch
import yaml
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer

import omniformer
from omniformer.card import MARK, Score, card, pipeline
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model

HOSTILE = "a\n---\nlicense: mit\n# <script>alert(1)</script> [x](http://y) | `z`"
CORE = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 8, "n_layers": 1, "n_heads": 1}
PATCHES = {"node": {"_target_": "omniformer.embedders.VectorEmbedder"}, "facts": {"d_model": 8, "features": 16}}
IDS = {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": {"d_model": 8, "vocab_size": 257}}
CLASSES = {"node": {"_target_": "omniformer.heads.ClassificationHead"}, "facts": {"d_model": 8, "n_classes": 2}}
WORDS = {"node": {"_target_": "omniformer.heads.NextTokenHead"}, "facts": {"d_model": 8, "vocab_size": 257}}
CAUSAL = {"_target_": "omniformer.core.rules.Causal"}


def made(embedders, heads, members, rules=None):
    torch.manual_seed(0)
    recipe = {"core": CORE, "embedders": embedders, "heads": heads, "rules": rules or {}}
    predictor = Predictor(build_model(recipe), members)
    predictor.recipe = recipe
    return predictor


def pets(*labels):
    tokenizer = PatchTokenizer(patch_size=4, channels=1, image_size=[8, 8])
    member = Member(tokenizers={"vision": tokenizer}, labels=labels)
    patches = PATCHES | {"facts": PATCHES["facts"] | {"axes": 2}}
    return made({"vision": patches}, {"pets": CLASSES}, {"pets": member})


def writes():
    member = Member(tokenizers={"text": ByteTokenizer()}, max_seq_len=32)
    return made({"text": IDS}, {"prose": WORDS}, {"prose": member}, {"prose": CAUSAL})


def head_of(text):
    """The head in YAML, as the hub cuts it out."""
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


def test_a_saved_model_says_what_it_is_and_how_it_is_used(tmp_path):
    model = writes()
    omniformer.save(tmp_path / "writer" / "model", model, recipe=model.recipe)
    text = (tmp_path / "writer" / "model" / "README.md").read_text()
    assert head_of(text) == {
        "library_name": "omniformer",
        "pipeline_tag": "text-generation",
        "tags": ["omniformer", "text"],
    }
    n = sum(parameter.numel() for parameter in model.model.parameters())
    assert "\n# writer\n" in text and f"{n:,} parameters." in text and "model.generate([...])" in text
    assert "prose reads at most 32 tokens of an input" in text and "Nobody has said under which licence" in text


def test_only_what_was_measured_stands_in_the_head_and_a_licence_only_where_one_was_said():
    score = Score(member="pets", metric="accuracy", value=0.5, data="Pets", split="test")
    found = head_of(card(pets("cat", "dog"), title="pets", licence="cc-by-4.0", scores=[score]))
    assert found["license"] == "cc-by-4.0" and found["pipeline_tag"] == "image-classification"
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"] == {"type": "Pets", "name": "Pets", "split": "test"}
    assert result["metrics"][0]["type"] == "accuracy" and result["metrics"][0]["value"] == 0.5
    bare = card(pets("cat", "dog"), title="pets")
    assert "model-index" not in head_of(bare) and "license" not in head_of(bare)


def test_names_and_classes_cannot_write_the_card():
    score = Score(member=HOSTILE, metric=HOSTILE, value=1.0, data=HOSTILE, split=HOSTILE)
    text = card(pets(HOSTILE, "dog"), title=HOSTILE, scores=[score])
    found = head_of(text)
    assert "license" not in found and found["model-index"][0]["name"] == " ".join(HOSTILE.split())
    body = text.split("---\n", 2)[2]
    assert "<script>" not in body and "[x](http" not in body and "\nlicense" not in body and "\n---\n" not in body


def test_words_of_somebody_else_stay_and_are_named(tmp_path, caplog):
    model = pets("cat", "dog")
    omniformer.save(tmp_path, model, recipe=model.recipe)
    path = tmp_path / "README.md"
    path.write_text(path.read_text().replace(MARK, "# mine"))
    own = path.read_text()
    with caplog.at_level(logging.WARNING):
        omniformer.save(tmp_path, model, recipe=model.recipe)
    assert path.read_text() == own and f"{path} has words of somebody else and stays" in caplog.text


def test_what_the_hub_has_no_word_for_gets_none():
    model = pets("cat", "dog")
    (member,) = model.members.values()
    assert pipeline(model, "pets", member) == "image-classification"
    both = Member(tokenizers={**member.tokenizers, "text": ByteTokenizer()}, labels=member.labels)
    assert pipeline(model, "pets", both) is None
