"""DINOv2, with and without registers, beside the reference library."""

import pytest
import torch
from PIL import Image
from twins import LOGITS, saved, shaken, transformers, twin
from vision import as_written, loads_whole, pixels

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 16, "patch_size": 4}
PLAIN, CLASSES = transformers.Dinov2Model, transformers.Dinov2ForImageClassification
REGISTERS = transformers.Dinov2WithRegistersModel
REGISTERS_CLASSES = transformers.Dinov2WithRegistersForImageClassification


def model(kind=PLAIN, **others):
    return kind(kind.config_class(**(SIZES | others)))


def hidden(n_patches=16):
    return torch.rand(2, n_patches, generator=torch.Generator().manual_seed(0)) < 0.4


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "output", "others", "shape"),
    [
        (PLAIN, "last_hidden_state", {}, (3, 16, 16)),
        (PLAIN, "pooler_output", {"use_swiglu_ffn": True, "hidden_size": 27, "qkv_bias": False}, (3, 16, 16)),
        (PLAIN, "last_hidden_state", {"use_mask_token": False, "mlp_ratio": 2, "num_channels": 1}, (1, 16, 16)),
        (CLASSES, "logits", {"num_labels": 5, "layer_norm_eps": 1e-3, "num_hidden_layers": 3}, (3, 16, 16)),
        (REGISTERS, "last_hidden_state", {"num_register_tokens": 3}, (3, 16, 16)),
        (REGISTERS, "pooler_output", {"use_swiglu_ffn": True, "hidden_act": "relu"}, (3, 16, 16)),
        (REGISTERS_CLASSES, "logits", {"num_labels": 3}, (3, 16, 16)),
    ],
    ids=["tokens", "gated", "no mask token", "classes", "registers", "gated registers", "classes and registers"],
)
def test_outputs_gradients_and_the_way_back(kind, output, others, shape, tmp_path):
    theirs = model(kind, **others)
    inputs = {"pixel_values": pixels(2, *shape)}
    twin(theirs, tmp_path, lambda out: getattr(out, output), inputs, as_filed=as_written(theirs))
    loads_whole(kind, tmp_path / "ours")


@pytest.mark.parametrize("kind", [PLAIN, REGISTERS])
def test_hidden_patches_and_the_gradient_of_the_mask_token(kind, tmp_path):
    theirs = model(kind)
    inputs = {"pixel_values": pixels(2, 3, 16, 16), "bool_masked_pos": hidden()}
    ours = twin(theirs, tmp_path, lambda out: out.last_hidden_state, inputs, as_filed=as_written(theirs))
    assert ours.model.embedders["vision"].embedder.hidden.vector.grad.abs().sum() > 0


def test_a_model_without_a_mask_token_hides_nothing(tmp_path):
    ours = pretrained.as_reference(pretrained.load(saved(model(use_mask_token=False), tmp_path)))
    with pytest.raises(TypeError, match="bool_masked_pos is not taken here, only pixel_values"):
        ours(pixel_values=pixels(2, 3, 16, 16), bool_masked_pos=hidden())


@pytest.mark.quick(2)
@pytest.mark.parametrize("size", [(24, 24), (8, 8), (8, 28)], ids=["larger", "smaller", "wide"])
@pytest.mark.parametrize("kind", [PLAIN, REGISTERS])
def test_other_image_sizes_stretch_the_positions_as_the_reference_does(kind, size, tmp_path):
    theirs = shaken(model(kind))
    resized = pretrained.load(saved(theirs, tmp_path / "theirs"), image_size=size)
    images = pixels(2, 3, *size)
    expected = theirs(pixel_values=images).last_hidden_state
    torch.testing.assert_close(
        pretrained.as_reference(resized)(pixel_values=images).last_hidden_state, expected, **LOGITS
    )
    resized.save_pretrained(tmp_path / "ours")
    if size[0] == size[1]:  # the reference reads back positions of squares only
        again = loads_whole(kind, tmp_path / "ours")
        torch.testing.assert_close(again(pixel_values=images).last_hidden_state, expected, **LOGITS)


def test_a_published_folder_whose_processor_makes_smaller_pictures_is_loaded_at_their_size(tmp_path):
    theirs = shaken(model())
    processor = transformers.BitImageProcessor(size={"shortest_edge": 10}, crop_size={"height": 8, "width": 8})
    processor.save_pretrained(saved(theirs, tmp_path))
    with pytest.raises(ValueError, match=r"\(8, 8\), those of config.json \(16, 16\); choose by .*image_size=\(8, 8\)"):
        pretrained.load(tmp_path)
    ours = pretrained.load(tmp_path, image_size=(8, 8))
    picture = Image.linear_gradient("L").resize((31, 20)).convert("RGB")
    pixel_values = processor(picture, return_tensors="pt")["pixel_values"]
    expected = torch.nn.functional.normalize(theirs(pixel_values=pixel_values).pooler_output, dim=-1)
    found = torch.nn.functional.normalize(ours.embed([picture], pool="first"), dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drop_path_rate": 0.1}, "drop_path_rate=0.1; accepted: 0.0"),
        ({"hidden_act": "mish"}, "hidden_act='mish'; accepted: relu"),
        ({"patch_size": [14, 7]}, r"patch_size=\[14, 7\]; accepted: equal sides"),
        ({"architectures": ["Dinov2Backbone"]}, "this reads Dinov2Model, Dinov2ForImageClassification"),
    ],
)
def test_what_the_core_cannot_express_is_refused_by_key(wrong, message):
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of({"model_type": "dinov2"} | wrong).recipe
