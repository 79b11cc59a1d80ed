"""Folders from strangers whose values are of the wrong kind, or much too large: one sentence that names the file."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

import omniformer
from omniformer import folder as folders
from omniformer.pretrained import load

D, V, P = 8, 8, 16
GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": D, "vocab_size": V, "n_positions": P}
SHAPES = {
    "wte.weight": (V, D),
    "wpe.weight": (P, D),
    "ln_f.weight": (D,),
    "ln_f.bias": (D,),
    "h.0.ln_1.weight": (D,),
    "h.0.ln_1.bias": (D,),
    "h.0.attn.c_attn.weight": (D, 3 * D),
    "h.0.attn.c_attn.bias": (3 * D,),
    "h.0.attn.c_proj.weight": (D, D),
    "h.0.attn.c_proj.bias": (D,),
    "h.0.ln_2.weight": (D,),
    "h.0.ln_2.bias": (D,),
    "h.0.mlp.c_fc.weight": (D, 4 * D),
    "h.0.mlp.c_fc.bias": (4 * D,),
    "h.0.mlp.c_proj.weight": (4 * D, D),
    "h.0.mlp.c_proj.bias": (D,),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A published model, and the same as we save it."""
    place = tmp_path_factory.mktemp("honest")
    (place / "published").mkdir()
    (place / "published" / "config.json").write_text(json.dumps(GPT2))
    tensors = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    save_file(tensors, place / "published" / "model.safetensors", metadata={"format": "pt"})
    loaded = load(place / "published")
    folders.save(place / "saved", loaded, recipe=loaded.recipe)
    return place


@pytest.fixture
def place(honest, tmp_path):
    shutil.copytree(honest, tmp_path / "x")
    return tmp_path / "x"


def test_the_honest_folders_are_not_refused(place):
    assert omniformer.load(place / "published").model and omniformer.load(place / "saved").model


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "change",
    [
        {"n_embd": "x"},
        {"n_head": 0},
        {"n_layer": 10**9},
        {"vocab_size": 10**15},
        {"activation_function": ["gelu"]},
        {"model_type": ["gpt2"]},
        {"architectures": 3},
        {"layer_norm_epsilon": "nan"},
    ],
    ids=str,
)
def test_odd_values_of_a_published_model_are_told_by_the_file(place, change):
    (place / "published" / "config.json").write_text(json.dumps(GPT2 | change))
    with pytest.raises(ValueError, match=r"config\.json|core "):
        omniformer.load(place / "published")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["recipe"]["core"].update(n_layers=10**9),
        lambda config: config["recipe"]["core"].update(d_model=10**9),
        lambda config: config.update(members={"text": {"modalities": [], "labels": 3, "max_seq_len": None}}),
        lambda config: config.update(
            members={"text": {"modalities": [], "labels": [], "max_seq_len": None, "given": ["../x"]}}
        ),
        lambda config: config.update(published={"model_type": ["gpt2"]}),
    ],
    ids=["layers", "width", "labels", "given", "published"],
)
def test_odd_values_of_a_saved_model_are_told_by_the_file(place, change):
    path = place / "saved" / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json"):
        omniformer.load(place / "saved")


def test_steps_of_a_sentence_encoder_that_are_none_are_told_by_the_file(place):
    steps = [{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": "1_Pooling"}]
    (place / "published" / "modules.json").write_text(json.dumps(steps))
    (place / "published" / "1_Pooling").mkdir()
    (place / "published" / "1_Pooling" / "config.json").write_text('{"pooling_mode": [{}]}')
    with pytest.raises(ValueError, match=r"modules\.json describes what cannot be built: TypeError"):
        omniformer.load(place / "published")


@pytest.mark.parametrize("file", ["published/tokenizer.json", "saved/more/tokenizer.json"])
def test_a_pipe_is_not_waited_for(place, file):
    (place / file).parent.mkdir(exist_ok=True)
    os.mkfifo(place / file)
    with pytest.raises(ValueError, match=r"tokenizer\.json is neither a file nor a folder"):
        omniformer.load((place / file).parent if file.startswith("published") else place / "saved")
