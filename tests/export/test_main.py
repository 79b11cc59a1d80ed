"""The command, from a saved folder to what it prints."""

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer

import omniformer
from omniformer.export.__main__ import main
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model


@pytest.fixture
def run(tmp_path):
    """A run folder of a classifier of texts."""
    size = {"d_model": 16, "vocab_size": 257}
    recipe = {
        "core": {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2},
        "embedders": {"text": {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": size}},
        "heads": {
            "topics": {
                "node": {"_target_": "omniformer.heads.ClassificationHead"},
                "facts": {"d_model": 16, "n_classes": 3},
            }
        },
        "rules": {},
    }
    torch.manual_seed(0)
    member = Member(tokenizers={"text": ByteTokenizer()}, labels=("a", "b", "c"))
    omniformer.save(tmp_path / "run" / "model", Predictor(build_model(recipe), {"topics": member}), recipe=recipe)
    return tmp_path / "run"


def test_the_command_writes_files_and_tells_what_goes_in_and_comes_out(run, tmp_path, capsys):
    main([str(run), "--out", str(tmp_path / "files"), "--format", "pt2"])
    said = capsys.readouterr().out
    assert f"{tmp_path / 'files' / 'model.pt2'}" in said
    assert "from the model" in said
    assert "in   input_ids [batch, seq]" in said
    assert "out  logits [batch, 3]" in said


def test_a_folder_without_a_model_ends_with_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--out", str(tmp_path / "files")])
    assert stop.value.code == 1
    assert "holds no trained model" in capsys.readouterr().err
    assert not (tmp_path / "files").exists()


def test_a_damaged_folder_ends_with_one_sentence_that_names_the_file(run, tmp_path, capsys):
    (run / "model" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(SystemExit) as stop:
        main([str(run), "--out", str(tmp_path / "files")])
    assert stop.value.code == 1
    assert "model.safetensors is damaged or cut off" in capsys.readouterr().err


def test_what_is_missing_on_the_command_line_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run"])
    assert stop.value.code == 2
    assert "--out" in capsys.readouterr().err
