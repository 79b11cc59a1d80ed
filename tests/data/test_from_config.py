"""Data as a configuration describes them."""

import pytest
from omniformer_tokenizers import ByteTokenizer

from omniformer.data.from_config import build_data, build_tokenizers


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({}, {"node_vocab_sizes": [7], "node_features": 0}),
        ({"node_vocab_sizes": [9]}, {"node_vocab_sizes": [9], "node_features": 0}),
        ({"node_features": 2}, {"node_vocab_sizes": [], "node_features": 2}),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_a_tokenizer_is_told_of_the_data_what_its_config_leaves_out(node, expected, several):
    tokenizer = {"_target_": "omniformer_tokenizers.GraphTokenizer", "random_walk": 2, **node}
    data = {"_target_": "omniformer.data.Stream", "source": {"_target_": "omniformer.data.TUGraphs"}, "batch_size": 4}
    member = {"data": data, "tokenizer": {"graph": tokenizer} if several else tokenizer, "embedder": "-", "task": "-"}
    config = {"members": {"graphs": member}, "data_root": None, "seed": 0}
    made = build_data(config).tokenizers["graphs"]["graph"].config()
    assert {name: made[name] for name in expected} == expected
    assert made["edge_vocab_sizes"] == []
    assert made["random_walk"] == 2


def test_a_tokenizer_without_such_arguments_is_told_nothing():
    tokenizer = {"_target_": "omniformer_tokenizers.BPETokenizer", "vocab_size": 300}
    data = {"_target_": "omniformer.data.Stream", "source": {"_target_": "omniformer.data.TUGraphs"}, "batch_size": 4}
    member = {"data": data, "tokenizer": tokenizer, "embedder": "-", "task": "-"}
    config = {"members": {"graphs": member}, "data_root": None, "seed": 0}
    assert "text" in build_data(config).tokenizers["graphs"]


class Told:
    config = {"n": 1}  # noqa: RUF012 - the mistake


class Other(ByteTokenizer):
    def config(self):
        return {"size": 3}


class Nothing(ByteTokenizer):
    def config(self):
        return None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            type("Own", (Told, ByteTokenizer), {}),
            "config of Own is {'n': 1}, expected a method that gives the arguments",
        ),
        (Nothing, "config of Nothing is null, expected a method"),
        (Other, r"config\(\) of Other gives size, of which it cannot be made again \(.*unexpected .*'size'\)"),
    ],
)
def test_a_tokenizer_that_could_not_be_saved_is_refused_before_training(kind, message, monkeypatch):
    monkeypatch.setattr("omniformer.data.from_config.build", lambda node, path: kind())
    node = {"_target_": "omniformer_tokenizers.ByteTokenizer"}
    with pytest.raises(ValueError, match=f"mine.tokenizer: {message}"):
        build_tokenizers(node, "mine", None)
