"""ViT beside the reference library."""

import pytest
import torch
from twins import LOGITS, compare_gradients, saved, shaken, transformers, twin, weighted
from vision import as_written, count, loads_whole, pixels

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
PICTURES = {"image_size": 16, "patch_size": 4}


def model(kind=transformers.ViTForImageClassification, **others):
    return kind(transformers.ViTConfig(**(SIZES | PICTURES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("others", "shape"),
    [
        ({}, (3, 16, 16)),
        ({"num_hidden_layers": 1, "hidden_act": "relu", "num_channels": 1, "num_labels": 5}, (1, 16, 16)),
        ({"qkv_bias": False, "layer_norm_eps": 1e-3, "num_hidden_layers": 3}, (3, 16, 16)),
        ({"image_size": [12, 20], "hidden_act": "gelu_new"}, (3, 12, 20)),
        ({"image_size": 17, "patch_size": [5, 5]}, (3, 17, 17)),
    ],
    ids=["plain", "grey, one layer", "without offsets", "not square", "pixels left over"],
)
def test_logits_gradients_and_the_way_back(others, shape, tmp_path):
    theirs = model(**others)
    twin(theirs, tmp_path, lambda out: out.logits, {"pixel_values": pixels(2, *shape)}, as_filed=as_written(theirs))
    loads_whole(type(theirs), tmp_path / "ours")


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("output", "others"),
    [
        ("last_hidden_state", {}),
        ("pooler_output", {}),
        ("pooler_output", {"pooler_act": "gelu", "pooler_output_size": 7}),
    ],
    ids=["tokens", "pooled", "another pooler"],
)
def test_the_part_below_the_classifier(output, others, tmp_path):
    theirs = model(transformers.ViTModel, **others)
    inputs = {"pixel_values": pixels(2, 3, 16, 16)}
    twin(theirs, tmp_path, lambda out: getattr(out, output), inputs, as_filed=as_written(theirs))
    loads_whole(type(theirs), tmp_path / "ours")


def test_a_file_may_leave_the_pooler_out(tmp_path):
    theirs = transformers.ViTModel(transformers.ViTConfig(**(SIZES | PICTURES)), add_pooling_layer=False)
    inputs = {"pixel_values": pixels(2, 3, 16, 16)}
    ours = pretrained.load(saved(shaken(theirs), tmp_path / "theirs"))
    expected = theirs(**inputs).last_hidden_state
    torch.testing.assert_close(pretrained.as_reference(ours)(**inputs).last_hidden_state, expected, **LOGITS)
    ours.save_pretrained(tmp_path / "ours")
    assert pretrained.load(tmp_path / "ours").family.head is None
    again = loads_whole(transformers.ViTModel, tmp_path / "ours", add_pooling_layer=False)
    torch.testing.assert_close(again(**inputs).last_hidden_state, expected, **LOGITS)


@pytest.mark.quick(2)
@pytest.mark.parametrize("size", [(24, 24), (8, 28), (18, 13)], ids=["larger", "wide", "pixels left over"])
def test_other_image_sizes_stretch_the_positions_as_the_reference_does(size, tmp_path):
    theirs = shaken(model())
    resized = pretrained.load(saved(theirs, tmp_path / "theirs"), image_size=size)
    images = pixels(2, 3, *size)
    expected = theirs(pixel_values=images, interpolate_pos_encoding=True).logits
    in_a_call = pretrained.load(tmp_path / "theirs")
    found = pretrained.as_reference(in_a_call)(pixel_values=images, interpolate_pos_encoding=True).logits
    torch.testing.assert_close(found, expected, **LOGITS)
    weighted(expected).backward()
    weighted(found).backward()
    compare_gradients(in_a_call, theirs, as_written(theirs))
    with pytest.raises(ValueError, match="pixel_values have size"):
        pretrained.as_reference(in_a_call)(pixel_values=images)
    torch.testing.assert_close(pretrained.as_reference(resized)(pixel_values=images).logits, expected, **LOGITS)
    resized.save_pretrained(tmp_path / "ours")
    again = loads_whole(type(theirs), tmp_path / "ours")
    torch.testing.assert_close(again(pixel_values=images).logits, expected, **LOGITS)


def test_a_picture_of_another_size_is_told_how_to_be_read(tmp_path):
    ours = pretrained.as_reference(pretrained.load(saved(model(), tmp_path)))
    with pytest.raises(ValueError, match=r"have size \(16, 20\), this model reads \(16, 16\); .*image_size=\(16, 20\)"):
        ours(pixel_values=pixels(1, 3, 16, 20))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patch_size": [4, 8]}, r"patch_size=\[4, 8\]; accepted: equal sides"),
        ({"image_size": "224"}, "image_size='224'; accepted: a whole number, or height and width"),
        ({"hidden_act": "mish"}, "hidden_act='mish'; accepted: relu"),
        ({"num_labels": 0}, "gives ViTForImageClassification no class"),
        ({"architectures": ["ViTModel"], "pooler_act": "mish"}, "pooler_act='mish'; accepted: relu"),
        ({"architectures": ["ViTForMaskedImageModeling"]}, "this reads ViTForImageClassification, ViTModel"),
    ],
)
def test_what_the_core_cannot_express_is_refused_by_key(wrong, message):
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of({"model_type": "vit"} | wrong).recipe


@pytest.mark.parametrize(
    ("sizes", "published"),
    [
        ({"num_labels": 1000}, 86_567_656),
        (
            {
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "intermediate_size": 4096,
                "num_labels": 1000,
            },
            304_326_632,
        ),
    ],
    ids=["ViT-B/16", "ViT-L/16"],
)
def test_the_published_model_has_the_published_number_of_weights(sizes, published):
    assert count({"model_type": "vit"} | sizes) == published
