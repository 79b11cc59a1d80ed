"""What `load` and `save_pretrained` promise, whatever the family."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from twins import ragged_ids, saved, shaken, transformers

from omniformer import pretrained

SIZES = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 16, "vocab_size": 29}
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.fixture
def theirs():
    return shaken(transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES, bos_token_id=0, eos_token_id=0)))


@pytest.fixture
def folder(theirs, tmp_path):
    return saved(theirs, tmp_path / "theirs")


def logits(loaded):
    ids, mask = ragged_ids(29)
    return pretrained.as_reference(loaded)(input_ids=ids, attention_mask=mask).logits


def changed(folder, change):
    """Changes the tensors of a folder."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def configured(folder, **others):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | others))


def test_a_report_of_what_became_of_the_tensors(folder, caplog):
    changed(folder, lambda tensors: tensors.update({"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4)}))
    report = pretrained.load(folder).report
    assert report.loaded == len(load_file(folder / WEIGHTS)) - 1
    assert report.ignored == ("transformer.h.0.attn.bias",) and report.unexpected == ()
    assert caplog.records == []


def test_tensors_that_the_model_has_no_place_for_are_told(folder, caplog):
    changed(folder, lambda tensors: tensors.update({"transformer.h.9.ln_1.weight": torch.ones(24)}))
    with caplog.at_level(logging.WARNING):
        report = pretrained.load(folder).report
    assert report.unexpected == ("transformer.h.9.ln_1.weight",)
    assert "holds more than was read: GPT2LMHeadModel has no place for transformer.h.9.ln_1.weight" in caplog.text


def test_tensors_that_are_missing_are_named(folder):
    changed(folder, lambda tensors: [tensors.pop(f"transformer.h.{i}.ln_1.weight") for i in range(2)])
    message = "lacks transformer.h.0.ln_1.weight, transformer.h.1.ln_1.weight, which its config.json asks for"
    with pytest.raises(ValueError, match=message):
        pretrained.load(folder)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"n_inner": 40}, r"mlp.c_fc.weight is \[24, 96\], config.json says \[24, 40\].*and 1 more"),
        ({"vocab_size": 31}, r"wte.weight is \[29, 24\], config.json says \[31, 24\]"),
        ({"n_layer": 3}, r"lacks transformer.h.2.ln_1.weight.*and 7 more, which its config.json asks for"),
        ({"tie_word_embeddings": False}, "lacks lm_head.weight, which its config.json asks for"),
    ],
)
def test_a_configuration_that_disagrees_with_the_tensors(others, message, folder):
    configured(folder, **others)
    with pytest.raises(ValueError, match=message):
        pretrained.load(folder)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"model_type": "blip"}, r"config.json has model_type='blip', which is not read; known: .* xlm-roberta$"),
        ({"model_type": None}, "config.json has model_type=None, which is not read; known: albert"),
        ({"architectures": ["GPT2ForTokenClassification"]}, "config.json: architectures=.*this reads GPT2LMHeadModel"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"config.json: its weights are quantized .*gptq"),
        ({"add_cross_attention": True}, "add_cross_attention=True; accepted: False"),
        ({"activation_function": "mish"}, "activation_function='mish'; accepted: relu"),
    ],
)
def test_a_configuration_that_is_not_known(others, message, folder):
    configured(folder, **others)
    with pytest.raises(ValueError, match=message):
        pretrained.load(folder)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"model_type": '])
def test_a_damaged_configuration_is_named(content, folder):
    (folder / CONFIG).write_text(content)
    with pytest.raises(ValueError, match=r"config.json (is damaged|holds a list)"):
        pretrained.load(folder)


def test_folders_that_hold_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; give one that holds config.json and weights"):
        pretrained.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no config.json"):
        pretrained.load(tmp_path)


def test_files_of_the_part_below_the_head_have_no_prefix(theirs, folder):
    expected = logits(pretrained.load(folder))

    def shorten(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)

    changed(folder, shorten)
    torch.testing.assert_close(logits(pretrained.load(folder)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("layout", ["shards", "pickle", "old pickle"])
def test_other_layouts_hold_the_same_model(layout, theirs, folder, tmp_path):
    expected = logits(pretrained.load(folder))
    if layout == "shards":
        other = saved(theirs, tmp_path / "shards", max_shard_size="10KB")
        assert len(list(other.glob("*.safetensors"))) > 2
    else:
        other = tmp_path / "pickled"
        other.mkdir()
        (other / CONFIG).write_bytes((folder / CONFIG).read_bytes())
        archive = layout == "pickle"
        state = theirs.state_dict()
        torch.save(state, other / "pytorch_model.bin", _use_new_zipfile_serialization=archive)
    torch.testing.assert_close(logits(pretrained.load(other)), expected, rtol=0, atol=0)


def test_the_type_of_the_file_or_another(theirs, folder, tmp_path):
    half = saved(theirs.bfloat16(), tmp_path / "half")
    assert {each.dtype for each in pretrained.load(half).model.parameters()} == {torch.bfloat16}
    wide = pretrained.load(half, dtype=torch.float32)
    assert {each.dtype for each in wide.model.parameters()} == {torch.float32}
    table = load_file(half / WEIGHTS)["transformer.wte.weight"]
    torch.testing.assert_close(wide.model.embedders["text"].table.weight.data, table.float(), rtol=0, atol=0)
    narrow = pretrained.load(folder, dtype=torch.float16)
    assert {each.dtype for each in narrow.model.parameters()} == {torch.float16}


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_what_is_written_back_says_the_type_that_its_weights_have_by_now(key, theirs, folder, tmp_path):
    saved(theirs.bfloat16(), folder)
    config = {name: each for name, each in json.loads((folder / CONFIG).read_text()).items() if "dtype" not in name}
    (folder / CONFIG).write_text(json.dumps(config | {key: "bfloat16", "part": {key: "bfloat16"}}))
    loaded = pretrained.load(folder, dtype=torch.float32)  # as for training
    torch.nn.init.normal_(loaded.model.core.blocks[0].attention.branch.out.weight)
    loaded.save_pretrained(tmp_path / "ours")
    written = json.loads((tmp_path / "ours" / CONFIG).read_text())
    assert written[key] == written["part"][key] == "float32"
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert again.dtype == torch.float32
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(again(ids).logits, pretrained.as_reference(loaded)(input_ids=ids).logits)


def test_in_shards_and_back(theirs, folder, tmp_path):
    loaded = pretrained.load(folder)
    ours = tmp_path / "ours"
    loaded.save_pretrained(ours, max_shard_size=10_000)
    shards = sorted(ours.glob("*.safetensors"))
    assert len(shards) > 2 and shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"
    assert all(sum(each.nbytes for each in load_file(path).values()) <= 10_000 for path in shards)
    index = json.loads((ours / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(each.nbytes for path in shards for each in load_file(path).values())
    torch.testing.assert_close(logits(pretrained.load(ours)), logits(loaded), rtol=0, atol=0)
    again = transformers.GPT2LMHeadModel.from_pretrained(ours)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("name", ["model.safetensors", "model.fp16.safetensors", "config.json"])
def test_a_file_stands_for_its_folder_and_weights_of_any_name_are_read(folder, name):
    if name == "model.fp16.safetensors":
        (folder / WEIGHTS).rename(folder / name)
    loaded = pretrained.load(folder / name)
    assert loaded.report.loaded > 10


def test_what_is_saved_takes_the_place_of_what_was_there(folder, tmp_path):
    loaded = pretrained.load(folder)
    ours = tmp_path / "ours"
    loaded.save_pretrained(ours, max_shard_size=10_000)
    loaded.save_pretrained(ours)
    assert {path.name for path in ours.iterdir()} == {CONFIG, WEIGHTS, "generation_config.json"}


def test_a_save_that_fails_leaves_what_was_there(folder, tmp_path, monkeypatch):
    from omniformer.pretrained import saving

    loaded = pretrained.load(folder)
    ours = tmp_path / "ours"
    loaded.save_pretrained(ours)
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    write, calls = saving.save_file, []

    def fail(*given, **options):
        calls.append(given)
        if len(calls) > 1:
            raise OSError("no space left")
        write(*given, **options)

    monkeypatch.setattr(saving, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        loaded.save_pretrained(ours, max_shard_size=10_000)
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == before


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"n_embd": 48}, r"no GPT2LMHeadModel of this config.json: .* is \[.*, config.json says \["),
        ({"n_layer": 3}, "this model has no core.blocks.2"),
        ({"n_layer": 1}, "has no place for core.blocks.1"),
        ({"model_type": "llama", "architectures": None}, "no LlamaForCausalLM of this config.json: .* has 72 rows"),
    ],
)
def test_a_model_of_another_shape_is_not_saved(others, message, folder, tmp_path):
    loaded = pretrained.load(folder)
    ours = tmp_path / "ours"
    with pytest.raises(ValueError, match=message):
        pretrained.save_pretrained(loaded.model, ours, loaded.family.config | others)
    assert not ours.exists()


def test_nothing_is_half_loaded(folder):
    """Whatever is wrong is found before the first weight is written."""
    from omniformer.pretrained.files.checkpoint import Checkpoint
    from omniformer.pretrained.filling import fill

    loaded = pretrained.load(folder)
    before = {name: each.clone() for name, each in loaded.model.state_dict().items()}
    changed(folder, lambda tensors: tensors.update({"transformer.ln_f.bias": torch.ones(25)}))
    changed(folder, lambda tensors: [each.zero_() for each in tensors.values()])
    with pytest.raises(ValueError, match=r"transformer.ln_f.bias is \[25\], config.json says \[24\]"):
        fill(loaded.model, loaded.family, Checkpoint(folder))
    assert all(torch.equal(each, before[name]) for name, each in loaded.model.state_dict().items())


# The peak that the kernel keeps for this process alone; that of getrusage begins with the parent's.
MEASURE = """
import sys
from pathlib import Path
from omniformer import pretrained

def memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024

pretrained.load(sys.argv[1])
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
loaded = pretrained.load(sys.argv[2])
print(memory("VmHWM") - before, sum(each.nbytes for each in loaded.model.parameters()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs the kernel's count of a process's memory")
@pytest.mark.parametrize("layout", ["whole", "shards", "half", "pickle"])
def test_loading_takes_little_more_memory_than_the_file(layout, folder, tmp_path):
    sizes = SIZES | {"n_embd": 1024, "n_head": 16, "n_layer": 4, "vocab_size": 1000, "n_positions": 64}
    large = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    if layout == "half":
        large = large.bfloat16()
    options = {"max_shard_size": "40MB"} if layout == "shards" else {}
    other = saved(large, tmp_path / "large", **options)
    if layout == "pickle":
        torch.save(large.state_dict(), other / "pytorch_model.bin")
        (other / WEIGHTS).unlink()
    files = [path for pattern in ("*.safetensors", "*.bin") for path in other.glob(pattern)]
    size = sum(path.stat().st_size for path in files)
    assert len(files) > 3 if layout == "shards" else len(files) == 1
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(other)], capture_output=True, text=True, check=True
    )
    grown, weights = map(int, run.stdout.split())
    assert weights == pytest.approx(size, rel=0.05)
    assert 0.9 * weights < grown < 1.2 * size, grown / size
