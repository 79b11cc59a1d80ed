"""Models by name: what is fetched, and what is said where nothing can be."""

import json
import shutil
import sys

import pytest
import torch
from tiny_published import bert
from twins import saved, shaken, transformers

from omniformer import pretrained
from omniformer.pretrained.files import hub

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def folder(tmp_path):
    sizes = {"n_embd": 24, "n_layer": 1, "n_head": 3, "n_positions": 16, "vocab_size": 29}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    return saved(shaken(transformers.GPT2LMHeadModel(config)), tmp_path / "snapshot")


@pytest.fixture
def asked(folder, monkeypatch):
    """What the library is asked for; it answers with a folder of this machine."""
    calls = []

    def snapshot_download(name, **options):
        calls.append((name, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def test_a_name_is_fetched_where_no_such_folder_is(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = pretrained.load("somebody/gpt2-tiny", revision="0123abc")
    assert loaded.family.config["n_embd"] == 24
    ((name, options),) = asked
    assert name == "somebody/gpt2-tiny" and options["revision"] == "0123abc"


def test_a_folder_of_that_name_comes_first(asked, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrained.load("snapshot").report.loaded > 0
    assert asked == []
    with pytest.raises(ValueError, match="revision='main' is of a model on the hub; snapshot is a folder here"):
        pretrained.load("snapshot", revision="main")


def test_no_pickle_and_no_code_is_ever_fetched(asked, tmp_path, monkeypatch):
    from huggingface_hub.utils import filter_repo_objects

    monkeypatch.chdir(tmp_path)
    pretrained.load("somebody/gpt2-tiny")
    wanted = ["config.json", "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.json", "merges.txt"]
    wanted += ["processor_config.json", "chat_template.jinja", "target_vocab.json", "sentencepiece.bpe.model"]
    others = ["pytorch_model.bin", "modeling.py", "onnx/config.json", "tf_model.h5", "model.safetensors.py", "x.pkl"]
    ((_, options),) = asked
    assert list(filter_repo_objects(wanted + others, allow_patterns=options["allow_patterns"])) == wanted


def test_what_turns_texts_into_vectors_is_fetched_with_its_folders(tmp_path, monkeypatch):
    from huggingface_hub.utils import filter_repo_objects

    there = bert(tmp_path / "there", "BertModel")
    steps = [{"path": "", "type": "models.Transformer"}, {"path": "1_Pooling[a]", "type": "models.Pooling"}]
    (there / "modules.json").write_text(json.dumps(steps))
    (there / "config_sentence_transformers.json").write_text('{"prompts": {"query": "the "}}')
    (there / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    for place in ("1_Pooling[a]", "onnx"):
        (there / place).mkdir()
        (there / place / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (there / "1_Pooling[a]" / "pytorch_model.bin").write_bytes(b"a pickle")

    def snapshot_download(name, *, allow_patterns, **options):
        files = [str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()]
        for each in filter_repo_objects(files, allow_patterns=allow_patterns):
            (tmp_path / "here" / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(there / each, tmp_path / "here" / each)
        return str(tmp_path / "here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    texts = ["the cat", "The dog and the cat were here!"]
    fetched, expected = (pretrained.load(each).embed(texts, prompt="query") for each in ("somebody/e5", there))
    assert torch.equal(fetched, expected)
    assert sorted(path.name for path in (tmp_path / "here").iterdir() if path.is_dir()) == ["1_Pooling[a]"]
    assert [path.name for path in (tmp_path / "here" / "1_Pooling[a]").iterdir()] == ["config.json"]
    (there / "modules.json").write_text('[{"path": "../other", "type": "models.Pooling"}]')
    with pytest.raises(ValueError, match=r"modules.json names '..'; accepted: a plain name"):
        pretrained.load("somebody/e5")


@pytest.mark.parametrize("path", ["./gpt2", "../gpt2", "/models/gpt2", "a/b/c", "models/gpt2/", "~/gpt2", ""])
def test_paths_are_not_taken_for_names(path, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not hub.is_name(path)
    if path:
        with pytest.raises(FileNotFoundError, match="is no folder; give one that holds config.json"):
            pretrained.load(path)
    assert asked == []


def test_without_the_library_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"'somebody/x' is no folder here; .*pip install huggingface-hub"):
        pretrained.load("somebody/x")


@pytest.mark.parametrize("kind", ["LocalEntryNotFoundError", "OfflineModeIsEnabled", "HFValidationError"])
def test_without_a_network_the_message_says_so(kind, tmp_path, monkeypatch):
    from huggingface_hub import errors

    def snapshot_download(name, **options):
        raise getattr(errors, kind)("cannot reach the hub\nmany more lines")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    message = r"'somebody/x' is no folder here, and cannot be fetched .*: cannot reach the hub; look at the name"
    with pytest.raises(FileNotFoundError, match=message):
        pretrained.load("somebody/x")
