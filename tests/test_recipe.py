"""What is written down to build a model again."""

import pytest

from omniformer.config import ConfigError
from omniformer.recipe import build_model, recipe

TABLE = {"_target_": "omniformer.embedders.Maskable", "embedder": {"_target_": "omniformer.embedders.IdEmbedder"}}
CORE = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2}


def config(**members):
    """Members that read text, by the class of their head."""
    parts = {
        name: {
            "tokenizer": {"_target_": "x"},
            "data": {"_target_": "x"},
            "embedder": TABLE,
            "task": {"head": {"_target_": f"omniformer.heads.{head}"}},
        }
        for name, head in members.items()
    }
    return {"core": CORE, "members": parts}


def facts(**members):
    return {name: {"text": {"axes": 1, **known}} for name, known in members.items()}


def test_members_share_an_embedder_whatever_their_classes():
    made = recipe(
        config(moods="ClassificationHead", intents="ClassificationHead"),
        facts(moods={"vocab_size": 30, "n_classes": 2}, intents={"vocab_size": 30, "n_classes": 7}),
    )
    assert made["embedders"]["text"]["facts"] == {"axes": 1, "vocab_size": 30, "d_model": 16}
    model = build_model(made)
    assert [model.heads[name].classes.out_features for name in ("moods", "intents")] == [2, 7]


def test_members_of_other_vocabularies_do_not_share_one():
    with pytest.raises(ConfigError, match=r"members\.b\.embedder: modality 'text' has another embedder already"):
        recipe(config(a="NextTokenHead", b="NextTokenHead"), facts(a={"vocab_size": 30}, b={"vocab_size": 31}))
