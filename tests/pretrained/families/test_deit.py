"""DeiT beside the reference library."""

import pytest
import torch
from twins import LOGITS, saved, shaken, transformers, twin
from vision import as_written, count, loads_whole, pixels

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
PICTURES = {"image_size": 16, "patch_size": 4}


def model(kind=transformers.DeiTForImageClassificationWithTeacher, **others):
    return kind(transformers.DeiTConfig(**(SIZES | PICTURES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "others"),
    [
        (transformers.DeiTForImageClassificationWithTeacher, {}),
        (transformers.DeiTForImageClassificationWithTeacher, {"num_hidden_layers": 1, "num_labels": 5}),
        (transformers.DeiTForImageClassificationWithTeacher, {"qkv_bias": False, "hidden_act": "relu"}),
        (transformers.DeiTForImageClassification, {"num_hidden_layers": 3, "layer_norm_eps": 1e-3}),
    ],
    ids=["both tokens", "one layer", "without offsets", "class token alone"],
)
def test_logits_gradients_and_the_way_back(kind, others, tmp_path):
    theirs = model(kind, **others)
    inputs = {"pixel_values": pixels(2, 3, 16, 16)}
    twin(theirs, tmp_path, lambda out: out.logits, inputs, as_filed=as_written(theirs))
    loads_whole(kind, tmp_path / "ours")


def test_each_token_has_its_own_classifier(tmp_path):
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    images = pixels(2, 3, 16, 16)
    expected, found = theirs(pixel_values=images), ours(pixel_values=images)
    for name in ("cls_logits", "distillation_logits"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), **LOGITS)


def test_other_image_sizes_leave_both_tokens_where_they_are(tmp_path):
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path), image_size=(12, 24)))
    images = pixels(2, 3, 12, 24)
    expected = theirs(pixel_values=images, interpolate_pos_encoding=True).logits
    torch.testing.assert_close(ours(pixel_values=images).logits, expected, **LOGITS)


def test_the_published_model_has_as_many_weights_as_the_reference_s():
    sizes = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "num_labels": 1000}
    with torch.device("meta"):
        theirs = transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**sizes))
    assert count({"model_type": "deit"} | sizes) == theirs.num_parameters() == 22_436_432
