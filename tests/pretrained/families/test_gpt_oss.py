"""gpt-oss beside the reference library."""

import json

import decoders
import pytest
import torch
from safetensors.torch import load_file, save_file
from twins import ragged_ids, saved, shaken, transformers, twin

from omniformer import pretrained
from omniformer.pretrained import family_of

SIZES = decoders.SIZES | {
    "head_dim": 10,
    "num_hidden_layers": 3,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": 3,
}


def model(kind=transformers.GptOssForCausalLM, **others):
    return kind(transformers.GptOssConfig(**(SIZES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {"swiglu_limit": 1.0, "rms_norm_eps": 1e-2},
        {"swiglu_limit": 0.5, "swiglu_alpha": 1.1, "attention_bias": False, "tie_word_embeddings": True},
        {"num_experts_per_tok": 1, "num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]},
    ],
    ids=["plain", "tight gates", "one of four"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, lambda out: out.logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_what_it_writes(tmp_path):
    theirs = shaken(model())
    decoders.writes_alike(theirs, pretrained.load(saved(theirs, tmp_path)))


def packed(folder, **quantization):
    """The folder of a tiny model with experts of four bits, and the same numbers as the reference unpacks them."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    theirs = shaken(model(hidden_size=32, intermediate_size=64, num_hidden_layers=1)).to(torch.bfloat16)
    tensors, generator = load_file(saved(theirs, folder) / "model.safetensors"), torch.Generator().manual_seed(0)
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj")) and "experts" in name]:
        n, inside, out = tensors[name].shape
        blocks = torch.randint(256, (n, out, inside // 32, 16), dtype=torch.uint8, generator=generator)
        scales = torch.randint(120, 130, (n, out, inside // 32), dtype=torch.uint8, generator=generator)
        expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16)
        assert expected.shape == tensors[name].shape
        tensors[name] = expected
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    whole = {name: tensor for name, tensor in tensors.items() if not name.endswith(("_blocks", "_scales"))}
    bare = {name: tensor for name, tensor in tensors.items() if f"{name}_blocks" not in tensors}
    save_file(bare, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "mxfp4"}}))
    return whole


def test_experts_of_four_bits_are_read_as_the_reference_unpacks_them_and_written_unpacked(tmp_path):
    whole = packed(tmp_path / "packed")
    loaded = pretrained.load(tmp_path / "packed")
    assert all(parameter.dtype == torch.bfloat16 for parameter in loaded.model.parameters())
    loaded.save_pretrained(tmp_path / "back")
    written = load_file(tmp_path / "back" / "model.safetensors")
    assert written.keys() == whole.keys()
    assert all(torch.equal(written[name], whole[name]) for name in whole)
    assert "quantization_config" not in json.loads((tmp_path / "back" / "config.json").read_text())


def test_blocks_without_scales_are_told(tmp_path):
    packed(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mlp.experts.down_proj_scales"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"down_proj_blocks \[4, 32, 2, 16\] without .*down_proj_scales \[4, 32, 2\]"):
        pretrained.load(tmp_path)


def test_other_packings_are_refused():
    with pytest.raises(ValueError, match="quantization_config: awq.*or packed as mxfp4"):
        family_of({"model_type": "gpt_oss", "quantization_config": {"quant_method": "awq"}})
