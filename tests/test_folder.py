import json
from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, PatchTokenizer

import omniformer
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
    texts = [
        [answers[0].content for answers in each.generate(["attention", "all you"], max_new_tokens=40)]
        for each in (loaded, predictor)
    ]
    assert texts[0] == texts[1]
    assert loaded.writer().max_seq_len == 32


def test_what_a_task_is_given_before_it_writes_travels_with_the_folder(predictor, tmp_path):
    member = predictor.members["prose"]
    tokenizers = {**member.tokenizers, **predictor.members["digits"].tokenizers}
    captions = Member(tokenizers=tokenizers, given=("vision",))
    omniformer.save(tmp_path, Predictor(predictor.model, {"prose": captions}), recipe=predictor.recipe)
    assert omniformer.load(tmp_path).members["prose"].given == ("vision",)


def test_folders_written_before_tasks_were_given_anything_still_load(saved):
    path = saved / "model" / "config.json"
    config = json.loads(path.read_text())
    for member in config["members"].values():
        del member["given"]
    path.write_text(json.dumps(config))
    assert omniformer.load(saved).members["prose"].given == ()


def test_whoever_may_read_the_recipe_may_read_the_weights(saved):
    modes = {path.stat().st_mode for path in saved.rglob("*") if path.is_file()}
    assert len(modes) == 1


def test_the_folder_holds_json_safetensors_and_a_card_only(saved):
    assert {path.suffix for path in saved.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".md"}


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
