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


TOWERS = {"_target_": "omniformer.core.towers.Towers", "towers": [CORE, CORE | {"d_model": 8}]}


def pairs(core, *modalities):
    """A member that compares modalities."""
    read = {"_target_": "omniformer.embedders.VectorEmbedder", "features": 3}
    head = {"_target_": "omniformer.heads.ContrastiveHead", "modalities": [*modalities]}
    embedder = dict.fromkeys(modalities, read)
    parts = {"tokenizer": {"_target_": "x"}, "data": {"_target_": "x"}, "embedder": embedder, "task": {"head": head}}
    return {"core": core, "members": {"pairs": parts}}


def test_each_modality_has_the_width_of_its_tower():
    made = recipe(pairs(TOWERS, "vision", "audio"), {"pairs": {"vision": {}, "audio": {}}})
    model = build_model(made)
    assert [embedder.map.out_features for embedder in model.embedders.values()] == [16, 8]
    assert [linear.in_features for linear in model.heads["pairs"].maps.values()] == [16, 8]


def test_towers_of_one_width_are_a_core_of_one_width():
    made = recipe(pairs(TOWERS | {"towers": [CORE, CORE]}, "vision", "audio"), {"pairs": {"vision": {}, "audio": {}}})
    assert made["heads"]["pairs"]["facts"]["d_model"] == 16


def test_a_modality_without_a_tower_is_told():
    known = {"pairs": {"vision": {}, "audio": {}, "text": {}}}
    with pytest.raises(ConfigError, match=r"core\.towers: 2 towers, for vision, audio; modality 'text' has none"):
        recipe(pairs(TOWERS, "vision", "audio", "text"), known)
