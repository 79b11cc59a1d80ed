import json
from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, PatchTokenizer

import omniformer
from omniformer.generation import Sampler
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model

CORE = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2}
RECIPE = {
    "core": CORE,
    "embedders": {
        "vision": {
            "node": {"_target_": "omniformer.embedders.VectorEmbedder"},
            "facts": {"d_model": 16, "features": 16, "axes": 2},
        },
        "text": {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": {"d_model": 16, "vocab_size": 300}},
    },
    "heads": {
        "digits": {
            "node": {"_target_": "omniformer.heads.ClassificationHead"},
            "facts": {"d_model": 16, "n_classes": 3},
        },
        "prose": {"node": {"_target_": "omniformer.heads.NextTokenHead"}, "facts": {"d_model": 16, "vocab_size": 300}},
    },
    "rules": {"prose": {"_target_": "omniformer.core.rules.Causal"}},
}


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    text = BPETokenizer(vocab_size=300).fit(["attention is all you need, say the authors of the paper " * 20])
    recipe = json.loads(json.dumps(RECIPE))
    recipe["embedders"]["text"]["facts"]["vocab_size"] = recipe["heads"]["prose"]["facts"]["vocab_size"] = (
        text.vocab_size
    )
    model = build_model(recipe)
    torch.nn.init.normal_(model.heads["digits"].classes.weight)
    members = {
        "digits": Member(
            tokenizers={"vision": PatchTokenizer(patch_size=4, channels=1, image_size=[8, 8])}, labels=("a", "b", "c")
        ),
        "prose": Member(tokenizers={"text": text}, max_seq_len=32),
    }
    predictor = Predictor(model, members)
    predictor.recipe = recipe
    return predictor


@pytest.fixture
def saved(predictor, tmp_path) -> Path:
    omniformer.save(tmp_path / "run" / "model", predictor, recipe=predictor.recipe)
    return tmp_path / "run"


def picture(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_a_loaded_folder_predicts_as_the_model_that_was_saved(predictor, saved):
    pictures = [picture(i) for i in range(5)]
    loaded = omniformer.load(saved)
    assert [p.to_dict() for p in loaded.predict(pictures)] == [p.to_dict() for p in predictor.predict(pictures)]
    text = "".join(loaded.generate("attention", choose=Sampler(temperature=0), max_new_tokens=40))
    assert text == "".join(predictor.generate("attention", choose=Sampler(temperature=0), max_new_tokens=40))


def test_the_folder_holds_json_and_safetensors_only(saved):
    assert {path.suffix for path in saved.rglob("*") if path.is_file()} <= {".json", ".safetensors"}


def test_predictions_do_not_depend_on_how_inputs_are_batched(predictor):
    pictures = [picture(i) for i in range(7)]
    for one, other in zip(
        predictor.predict(pictures, batch_size=7), predictor.predict(pictures, batch_size=2), strict=True
    ):
        assert one.input == other.input
        assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-6)


def test_files_and_folders_are_read_in_order_and_named(predictor, tmp_path):
    from PIL import Image

    for i in range(3):
        Image.fromarray(picture(i)[0].numpy()).save(tmp_path / f"{i}.png")
    from_files = predictor.predict([str(tmp_path)])
    assert [Path(p.input).name for p in from_files] == ["0.png", "1.png", "2.png"]
    from_tensors = predictor.predict([picture(i) for i in range(3)])
    for one, other in zip(from_files, from_tensors, strict=True):
        assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-6)


def test_a_folder_cannot_name_code_to_run(saved, tmp_path):
    path = saved / "model" / "config.json"
    config = json.loads(path.read_text())
    trap = tmp_path / "trap"
    config["recipe"]["core"] = {"_target_": "pathlib.Path.touch", "self": str(trap)}
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="pathlib"):
        omniformer.load(saved)
    assert not trap.exists()


def test_weights_that_do_not_fit_the_recipe_are_refused_by_name(saved):
    path = saved / "model" / "config.json"
    path.write_text(path.read_text().replace('"n_classes": 3', '"n_classes": 4'))
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit .*config\.json"):
        omniformer.load(saved)


def test_damaged_files_are_named(saved):
    weights = saved / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        omniformer.load(saved)
    (saved / "model" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        omniformer.load(saved)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trained model"):
        omniformer.load(tmp_path)


def test_an_input_no_task_takes_is_named(predictor):
    with pytest.raises(ValueError, match="input 0 looks like audio; this model takes text, vision"):
        predictor.predict([torch.zeros(800)])


def test_a_missing_file_is_named(predictor):
    with pytest.raises(FileNotFoundError, match=r"no file 'nowhere\.png'"):
        predictor.predict(["nowhere.png"])


def test_a_language_model_says_that_it_generates(predictor):
    with pytest.raises(ValueError, match=r"use python -m omniformer\.generate"):
        predictor.predict(["some words"])


def test_a_model_without_language_says_how_to_get_one(predictor):
    classifier = Predictor(predictor.model, {"digits": predictor.members["digits"]})
    with pytest.raises(ValueError, match="no language model, only digits; train one with modality=text"):
        classifier.generate("hello", choose=Sampler())
    with pytest.raises(ValueError, match="member='digits' is no language model of this folder; choose one of prose"):
        predictor.generate("hello", choose=Sampler(), member="digits")


def test_a_file_that_is_no_picture_is_named(predictor, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"bad\.png"):
        predictor.predict([str(bad)])
