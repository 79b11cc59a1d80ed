"""A model that is pushed and fetched again is the same one; nothing else goes, and no token is ever said."""

from pathlib import Path

import pytest
import torch
import yaml
from omniformer_tokenizers import PatchTokenizer
from stand_in_hub import stand_in_hub
from tiny_published import gpt2
from tiny_runs import state

import omniformer
from omniformer.finetuning import begin
from omniformer.predictor import Member, Predictor
from omniformer.push import main, push
from omniformer.recipe import build_model

pytest.importorskip("huggingface_hub")
# The library uploads in a way that its client deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with stand_in_hub(tmp_path / "cache") as hub:
        yield hub


@pytest.fixture
def digits(tmp_path):
    """The folder that a run leaves."""
    torch.manual_seed(0)
    recipe = {
        "core": {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2},
        "embedders": {
            "vision": {
                "node": {"_target_": "omniformer.embedders.VectorEmbedder"},
                "facts": {"d_model": 16, "features": 16, "axes": 2},
            }
        },
        "heads": {
            "digits": {
                "node": {"_target_": "omniformer.heads.ClassificationHead"},
                "facts": {"d_model": 16, "n_classes": 3},
            }
        },
        "rules": {},
    }
    tokenizer = PatchTokenizer(patch_size=4, channels=1, image_size=[8, 8])
    predictor = Predictor(
        build_model(recipe), {"digits": Member(tokenizers={"vision": tokenizer}, labels=("a", "b", "c"))}
    )
    torch.nn.init.normal_(predictor.model.heads["digits"].classes.weight)
    omniformer.save(tmp_path / "run" / "model", predictor, recipe=recipe)
    part = {"_target_": "omniformer.data.sets.digits.Digits"}
    config = {"name": "digits", "paths": {}, **dict.fromkeys(("data", "task", "tokenizer", "embedder"), part)}
    (tmp_path / "run" / "config.yaml").write_text("# omniformer train modality=vision\n" + yaml.safe_dump(config))
    (tmp_path / "run" / "metrics.json").write_text('{"test/accuracy": 0.625}')
    return tmp_path / "run"


def test_a_run_that_was_pushed_and_fetched_is_equal(digits, hub, capsys):
    (digits / "model" / "tokenizers" / "digits" / "vision" / ".secret").write_text("x")
    main([str(digits), "me/digits", "--licence", "cc-by-4.0"])
    said = capsys.readouterr().out
    commit = hub.newest("me/digits")
    assert "me/digits, which is public" in said and f"revision='{commit}'" in said
    pictures = [torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8) for _ in range(3)]
    here = omniformer.load(digits)
    for there in (omniformer.load("me/digits"), omniformer.load("me/digits", revision=commit)):
        assert [each.to_dict() for each in there.predict(pictures)] == [
            each.to_dict() for each in here.predict(pictures)
        ]
        assert all(torch.equal(value, there.model.state_dict()[name]) for name, value in state(digits).items())
    files = hub.files("me/digits")
    assert all(
        (digits / "model" / each).read_bytes() == content for each, content in files.items() if each != "README.md"
    )
    assert {Path(each).suffix for each in files} == {".json", ".safetensors", ".md"}
    card = files["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "cc-by-4.0" and "omniformer.load('me/digits')" in card
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 0.625 and "omniformer train modality=vision" in card


def test_a_published_model_is_pushed_with_the_files_that_are_fetched_alone(hub, tmp_path, capsys):
    folder = gpt2(tmp_path / "gpt2")
    (folder / "notes.txt").write_text("mine")
    (folder / "old.bin").write_bytes(b"a pickle")
    main([str(folder), "me/gpt2", "--private"])
    said = capsys.readouterr().out
    assert "(2 files stay here, which nothing reads: notes.txt, old.bin)" in said and "which is private" in said
    assert not {"notes.txt", "old.bin"} & hub.files("me/gpt2").keys()
    texts = [
        each.generate(["the cat"], max_new_tokens=5)[0][0].content for each in map(omniformer.load, (folder, "me/gpt2"))
    ]
    assert texts[0] == texts[1]


def test_a_revision_stays_what_it_was_and_files_of_before_do_not_stay_behind(hub, tmp_path):
    *_, first, _ = push(gpt2(tmp_path / "one"), "me/gpt2")
    before = hub.files("me/gpt2")
    hub.commits["me/gpt2"][first] = before | {"vocab.old": b"{}"}
    push(gpt2(tmp_path / "two", n_layer=1), "me/gpt2")
    assert "vocab.old" not in hub.files("me/gpt2")
    assert len(omniformer.load("me/gpt2").model.core.blocks) == 1
    for pinned in (omniformer.load("me/gpt2", revision=first), omniformer.load(f"me/gpt2@{first}")):
        assert len(pinned.model.core.blocks) == 2
    with pytest.raises(ValueError, match="names a revision, and revision='main' another"):
        omniformer.load(f"me/gpt2@{first}", revision="main")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_file_that_is_not_what_the_hub_has_is_refused(hub, tmp_path, file):
    push(gpt2(tmp_path / "gpt2"), "me/gpt2")
    omniformer.load("me/gpt2")
    (path,) = (tmp_path / "cache").glob(f"models--me--gpt2/snapshots/*/{file}")
    content = path.read_bytes()
    path.resolve().write_bytes(content.replace(b"0", b"1", 1))
    with pytest.raises(ValueError, match=rf"{file} is damaged: its content has another hash than on the hub; remove"):
        omniformer.load("me/gpt2")


def test_no_token_is_said_where_the_hub_refuses_it(hub, tmp_path, capsys, monkeypatch):
    folder = gpt2(tmp_path / "gpt2")
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret_of_mine")
    with pytest.raises(SystemExit):
        main([str(folder), "me/gpt2"])
    said = "".join(capsys.readouterr())
    assert "cannot push to 'me/gpt2'" in said and "hf auth login" in said and "hf_a_secret" not in said


def test_a_hub_that_cannot_be_reached_is_said_once(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"cannot push to 'me/gpt2': .*refused") as stop:
        push(gpt2(tmp_path / "gpt2"), "me/gpt2")
    assert str(stop.value).count("refused") == 1


def test_what_shall_be_private_is_not_put_where_all_see_it(hub, tmp_path):
    folder = gpt2(tmp_path / "gpt2")
    push(folder, "me/gpt2")
    n = len(hub.commits["me/gpt2"])
    with pytest.raises(ValueError, match="me/gpt2 is there already, and public"):
        push(folder, "me/gpt2", private=True)
    assert len(hub.commits["me/gpt2"]) == n


@pytest.mark.parametrize("name", ["gpt2", "a/b/c", "me/gpt2@main", "../gpt2"])
def test_what_is_no_name_is_refused_before_anything_is_read(name, tmp_path):
    with pytest.raises(ValueError, match="is no name of the hub; give OWNER/NAME"):
        push(tmp_path, name)


def test_words_of_ones_own_go_along_as_they_are(digits, hub):
    path = digits / "model" / "README.md"
    path.write_text("---\nlicense: mit\n---\nmine")
    push(digits, "me/own")
    assert hub.files("me/own")["README.md"] == path.read_bytes()
    with pytest.raises(ValueError, match="has words of your own; write the licence there, as license: mit"):
        push(digits, "me/own", licence="mit")


def test_a_run_begins_from_what_was_pushed(hub, digits, tmp_path):
    push(gpt2(tmp_path / "gpt2"), "me/gpt2")
    push(digits, "me/digits")
    for name, kind in (("me/gpt2", "PublishedModel"), ("me/digits", "FinishedRun")):
        begun = begin({"model": {"pretrained": name}, "seed": 0, "allow_targets": []})
        assert type(begun).__name__ == kind and begun.source == name
