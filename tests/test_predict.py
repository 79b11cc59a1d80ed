"""The command, from a saved folder and files to what it prints."""

import json

import numpy as np
import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer
from PIL import Image

import omniformer
from omniformer.predict import main
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model

PATCHES = PatchTokenizer(patch_size=4, channels=1)


def saved(folder, *, modality="vision", tokenizer=PATCHES):
    """A folder of a model that tells three classes apart."""
    target = "IdEmbedder" if modality == "text" else "VectorEmbedder"
    facts = {"d_model": 16, **tokenizer.facts}
    recipe = {
        "core": {
            "_target_": "omniformer.core.transformer.Transformer",
            "d_model": 16,
            "n_layers": 1,
            "n_heads": 2,
            "init_std": 0.5,
        },
        "embedders": {modality: {"node": {"_target_": f"omniformer.embedders.{target}"}, "facts": facts}},
        "heads": {
            "it": {
                "node": {"_target_": "omniformer.heads.ClassificationHead"},
                "facts": {"d_model": 16, "n_classes": 3},
            }
        },
        "rules": {"it": {"_target_": "omniformer.core.rules.Full"}},
    }
    torch.manual_seed(0)
    model = build_model(recipe)
    torch.nn.init.normal_(model.heads["it"].classes.weight)
    member = Member(tokenizers={modality: tokenizer}, labels=("ant", "bee", "cat"))
    omniformer.save(folder, Predictor(model, {"it": member}), recipe=recipe)
    return str(folder)


@pytest.fixture
def pictures(tmp_path):
    """A folder with three pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_a_folder_is_predicted_and_each_row_has_only_what_there_is(tmp_path, pictures, capsys):
    main([saved(tmp_path / "model"), str(pictures), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows] == [str(pictures / f"{i}.png") for i in range(3)]
    for row in rows:
        assert list(row) == ["input", "member", "label", "score", "probabilities"]
        assert row["score"] == row["probabilities"][row["label"]] == max(row["probabilities"].values())


def test_broken_files_are_named_and_counted_and_the_good_ones_predicted(tmp_path, pictures, capsys):
    (pictures / "1.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stop:
        main([saved(tmp_path / "model"), str(pictures), "lost.png", "--json"])
    told = capsys.readouterr()
    assert stop.value.code == 1
    assert len(told.out.splitlines()) == 2
    assert "error: no file 'lost.png'" in told.err
    assert f"{pictures / '1.png'}: cannot be read as an image" in told.err
    assert told.err.endswith("(2 inputs could not be read; all others were)\n")


def test_where_nothing_can_be_read_the_first_reason_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([saved(tmp_path / "model"), "lost.png"])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: no file 'lost.png'")


def test_a_text_file_with_a_byte_order_mark_is_the_same_text(tmp_path, capsys):
    model = saved(tmp_path / "model", modality="text", tokenizer=ByteTokenizer())
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa fine film")
    main([model, str(tmp_path / "a.txt"), "a fine film", "--json"])
    file, typed = (json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines())
    assert file == pytest.approx(typed, abs=1e-6)
