"""GPT-NeoX and Pythia beside the reference library."""

import json

import pytest
from decoders import SIZES, language_model_twin
from safetensors.torch import load_file, save_file
from twins import agree, ragged_ids, saved, shaken, transformers

from omniformer import pretrained

SIZES = {key: size for key, size in SIZES.items() if key != "num_key_value_heads"} | {"hidden_size": 32}


def model(kind=transformers.GPTNeoXForCausalLM, **others):
    return kind(transformers.GPTNeoXConfig(**(SIZES | {"eos_token_id": None, "bos_token_id": None} | others)))


def as_filed(tensors):
    """The reference's files have another name for the map to scores than its newest class."""
    return {name.replace("lm_head.", "embed_out."): tensor for name, tensor in tensors.items()}


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("side", "others"),
    [
        ("right", {}),
        ("left", {"use_parallel_residual": False, "attention_bias": False, "hidden_act": "gelu_new"}),
        ("right", {"rope_parameters": {"rope_theta": 50.0, "partial_rotary_factor": 1.0}, "tie_word_embeddings": True}),
    ],
    ids=["side by side", "one after the other", "whole heads"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side, as_filed=as_filed)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.GPTNeoXModel), tmp_path)


def test_a_published_file_of_pythia_has_older_words(tmp_path):
    theirs = shaken(model())
    saved(theirs, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"rotary_pct": 0.25, "rotary_emb_base": 10000}))
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["embed_out.weight"] = tensors.pop("lm_head.weight", tensors.get("embed_out.weight"))
    save_file(tensors, tmp_path / "model.safetensors")
    loaded = pretrained.load(tmp_path)
    ids, _ = ragged_ids(29)
    agree(pretrained.as_reference(loaded)(input_ids=ids).logits, theirs(ids).logits)
