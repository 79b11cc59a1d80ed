"""`omniformer probe`: a saved model and a configuration of data in, a table and a file out."""

import json

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer

import omniformer
from omniformer.predictor import Member, Predictor
from omniformer.probe import main
from omniformer.recipe import build_model

RECIPE = {
    "core": {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2},
    "embedders": {
        "text": {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": {"d_model": 16, "vocab_size": 257}}
    },
    "heads": {
        "prose": {
            "node": {"_target_": "omniformer.heads.NextTokenHead"},
            "facts": {"d_model": 16, "vocab_size": 257},
        }
    },
    "rules": {"prose": {"_target_": "omniformer.core.rules.Causal"}},
}


def saved(folder, seed):
    torch.manual_seed(seed)
    predictor = Predictor(build_model(RECIPE), {"prose": Member(tokenizers={"text": ByteTokenizer()}, max_seq_len=64)})
    omniformer.save(folder, predictor, recipe=RECIPE)
    return folder


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path / "model", seed=0)


def rows(split, n):
    kinds = ("good", "bad", "odd")
    return [(f"a {kinds[i % 3]} film {i} of {split}", kinds[(i + (i % 5 == 0)) % 3]) for i in range(n)]


@pytest.fixture
def data(tmp_path):
    """A table of reviews, a fifth of them with another mood than they say."""
    files = {split: tmp_path / f"{split}.csv" for split in ("train", "val", "test")}
    for split, path in files.items():
        lines = [f"{text},{mood}" for text, mood in rows(split, 60 if split == "train" else 20)]
        path.write_text("\n".join(["review,mood", *lines]) + "\n")
    named = [f"data.source.{split}={path}" for split, path in files.items()]
    kinds = [
        "modality=text",
        "task=classification",
        "tokenizer=characters",
        "data=table",
        "core.d_model=8",
        "core.n_heads=1",
    ]
    columns = "data.source.columns={review: text, mood: label}"
    return [*kinds, *named, columns, "core.n_layers=1", "name=mood", f"paths.output_root={tmp_path / 'out'}"]


def test_a_probe_of_a_saved_model_prints_and_writes_its_scores(model, data, capsys):
    (path,) = main([str(model), *data])
    told = json.loads(path.read_text())
    assert told["samples"] == {"train": 60, "val": 20, "test": 20} and told["model"] == str(model)
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for score, name in zip(told["scores"], ("linear probe", "nearest neighbours"), strict=True):
        assert score["name"] == name and f"{score['scores']['test']['accuracy']:.4f}" in shown


def test_without_a_model_it_says_what_to_give(data, capsys):
    with pytest.raises(SystemExit):
        main(data)
    assert "probe: received no model; give a run" in capsys.readouterr().err


@pytest.mark.slow
def test_without_a_target_of_whole_samples_it_says_what_to_choose(model, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(model), "modality=text", "core.d_model=8", "core.n_heads=1", f"paths.output_root={tmp_path}"])
    assert "choose one that does, such as task=classification" in capsys.readouterr().err
