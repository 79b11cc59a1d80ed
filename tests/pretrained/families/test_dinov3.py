"""DINOv3 beside the reference library."""

import pytest
import torch
from PIL import Image
from twins import LOGITS, saved, shaken, transformers, twin
from vision import as_written, loads_whole, pixels

from omniformer import pretrained

MODEL = transformers.DINOv3ViTModel
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 4, "num_register_tokens": 2}


def model(**others):
    return MODEL(transformers.DINOv3ViTConfig(**(SIZES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("output", "others"),
    [
        ("last_hidden_state", {}),
        ("pooler_output", {"num_register_tokens": 0, "num_channels": 1, "hidden_act": "relu", "rope_theta": 7.0}),
        ("pooler_output", {"mlp_bias": False, "key_bias": True, "proj_bias": False, "layer_norm_eps": 1e-3}),
        ("last_hidden_state", {"use_gated_mlp": True, "query_bias": False, "value_bias": False, "hidden_act": "silu"}),
    ],
    ids=["tokens", "no registers", "all offsets", "gated"],
)
def test_outputs_gradients_and_the_way_back(output, others, tmp_path):
    theirs = model(**others)
    inputs = {"pixel_values": pixels(2, others.get("num_channels", 3), 16, 16)}
    inputs["bool_masked_pos"] = torch.rand(2, 16, generator=torch.Generator().manual_seed(0)) < 0.4
    twin(theirs, tmp_path, lambda out: getattr(out, output), inputs, as_filed=as_written(theirs))
    loads_whole(MODEL, tmp_path / "ours")


def test_pictures_of_other_sizes_are_read_as_by_the_reference(tmp_path):
    theirs = shaken(model())
    resized = pretrained.load(saved(theirs, tmp_path / "theirs"), image_size=(8, 28))
    images = pixels(2, 3, 8, 28)
    found = pretrained.as_reference(resized)(pixel_values=images).last_hidden_state
    torch.testing.assert_close(found, theirs(pixel_values=images).last_hidden_state, **LOGITS)


def test_a_picture_is_embedded_as_by_the_reference(tmp_path):
    theirs = shaken(model())
    processor = transformers.DINOv3ViTImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(saved(theirs, tmp_path))
    picture = Image.radial_gradient("L").resize((31, 20)).convert("RGB")
    pixel_values = processor(picture, return_tensors="pt")["pixel_values"]
    ours = pretrained.load(tmp_path)
    expected = torch.nn.functional.normalize(theirs(pixel_values=pixel_values).pooler_output, dim=-1)
    torch.testing.assert_close(ours.embed([picture], pool="first"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drop_path_rate": 0.1}, "drop_path_rate=0.1; accepted: 0.0"),
        ({"query_bias": False}, "offsets to value alone .*accepted: to all, to none, to query and value"),
        ({"architectures": ["DINOv3ViTBackbone"]}, "this reads DINOv3ViTModel"),
    ],
)
def test_what_the_core_cannot_express_is_refused_by_key(wrong, message):
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of({"model_type": "dinov3_vit"} | wrong).recipe
