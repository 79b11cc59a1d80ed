"""What lies beside published weights goes with them."""

import json

import pytest
import torch
import vocabularies
from twins import saved, transformers

from omniformer import pretrained
from omniformer.pretrained.files.companions import read_companions, write_companions

VIT = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def test_only_small_files_of_known_names_are_taken(tmp_path):
    kept = ["tokenizer.json", "vocab.txt", "source.spm", "spiece.model", "chat_template.jinja", "merges.txt"]
    for name in [*kept, "model.safetensors", "pytorch_model.bin", "README.md", "config.json", "run.py"]:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "chat_template.d").mkdir()
    files = read_companions(tmp_path)
    assert files == {name: name.encode() for name in sorted(kept)}
    (tmp_path / "other").mkdir()
    write_companions(files, tmp_path / "other")
    assert read_companions(tmp_path / "other") == files


@pytest.mark.parametrize("kind", ["GPT-2", "LLaMA 2"])
def test_the_reference_finds_the_vocabulary_of_a_model_that_was_written_back(kind, tmp_path):
    made = vocabularies.KINDS[kind]()
    config = transformers.GPT2Config(n_embd=24, n_layer=1, n_head=3, n_positions=16, vocab_size=len(made))
    made.save_pretrained(saved(transformers.GPT2LMHeadModel(config), tmp_path / "theirs"))
    model = pretrained.load(tmp_path / "theirs")
    model.save_pretrained(tmp_path / "ours")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    before = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in vocabularies.TEXTS:
        assert again(text).input_ids == before(text).input_ids
    tokenizer = pretrained.load(tmp_path / "ours").members["causal_lm"].tokenizers["text"]
    assert tokenizer.digest == model.members["causal_lm"].tokenizers["text"].digest


def test_what_prepares_pictures_goes_along(tmp_path):
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**VIT, image_size=8, patch_size=4))
    transformers.ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(saved(theirs, tmp_path / "theirs"))
    pretrained.load(tmp_path / "theirs").save_pretrained(tmp_path / "ours")
    picture = torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8)
    values = [
        transformers.AutoImageProcessor.from_pretrained(tmp_path / name)(picture, return_tensors="pt").pixel_values
        for name in ("theirs", "ours")
    ]
    assert torch.equal(*values)


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("crop", [{}, {"do_center_crop": True, "crop_size": {"height": 8, "width": 8}}])
def test_pictures_of_another_size_are_prepared_at_that_size(newer, crop, tmp_path):
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**VIT, image_size=8, patch_size=4))
    folder = saved(theirs, tmp_path / "theirs")
    transformers.DeiTImageProcessor(
        **{"size": {"height": 8, "width": 8}, "do_center_crop": False} | crop
    ).save_pretrained(folder)
    if newer:  # as the reference's newest releases write it
        old = folder / "preprocessor_config.json"
        (folder / "processor_config.json").write_text(json.dumps({"image_processor": json.loads(old.read_text())}))
        old.unlink()
    loaded = pretrained.load(folder, image_size=(12, 16))
    loaded.save_pretrained(tmp_path / "larger")
    again = pretrained.load(tmp_path / "larger")
    picture = torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8)
    expected, found = (each.members["classification"].tokenizers["vision"](picture) for each in (loaded, again))
    assert torch.equal(found.values, expected.values) and len(found) == 1 + 3 * 4
