"""BEiT beside the reference library."""

import pytest
import torch
from PIL import Image
from twins import LOGITS, saved, shaken, transformers, twin
from vision import as_written, loads_whole, pixels

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
SIZES |= {"image_size": 16, "patch_size": 4}
CLASSES, PLAIN = transformers.BeitForImageClassification, transformers.BeitModel
OFFSETS, SHARED = {"use_relative_position_bias": True}, {"use_shared_relative_position_bias": True}


def model(kind=CLASSES, **others):
    return kind(transformers.BeitConfig(**(SIZES | others)))


@pytest.mark.quick("offsets", "all at once")
@pytest.mark.parametrize(
    ("kind", "output", "others"),
    [
        (CLASSES, "logits", OFFSETS | {"num_labels": 5}),
        (CLASSES, "logits", SHARED | {"use_mean_pooling": False, "layer_scale_init_value": 0.0}),
        (PLAIN, "pooler_output", OFFSETS | SHARED | {"use_absolute_position_embeddings": True, "num_hidden_layers": 3}),
        (PLAIN, "last_hidden_state", {"use_absolute_position_embeddings": True, "layer_norm_eps": 1e-3}),
        (PLAIN, "last_hidden_state", OFFSETS | {"use_mean_pooling": False, "hidden_act": "relu", "patch_size": 8}),
    ],
    ids=["offsets", "shared offsets", "all at once", "positions", "class token"],
)
def test_outputs_gradients_and_the_way_back(kind, output, others, tmp_path):
    theirs = model(kind, **others)
    inputs = {"pixel_values": pixels(2, 3, 16, 16)}
    twin(theirs, tmp_path, lambda out: getattr(out, output), inputs, as_filed=as_written(theirs))
    loads_whole(kind, tmp_path / "ours")


@pytest.mark.slow
def test_hidden_patches_and_the_gradient_of_the_mask_token(tmp_path):
    theirs = model(PLAIN, use_mask_token=True, **OFFSETS)
    hidden = torch.rand(2, 16, generator=torch.Generator().manual_seed(0)) < 0.4
    inputs = {"pixel_values": pixels(2, 3, 16, 16), "bool_masked_pos": hidden}
    ours = twin(theirs, tmp_path, lambda out: out.last_hidden_state, inputs, as_filed=as_written(theirs))
    assert ours.model.embedders["vision"].embedder.hidden.vector.grad.abs().sum() > 0


def test_a_file_without_the_norm_of_the_mean_gives_tokens(tmp_path):
    theirs = shaken(transformers.BeitModel(model(PLAIN, **OFFSETS).config, add_pooling_layer=False))
    loaded = pretrained.load(saved(theirs, tmp_path))
    images = pixels(1, 3, 16, 16)
    found = pretrained.as_reference(loaded)(pixel_values=images).last_hidden_state
    torch.testing.assert_close(found, theirs(pixel_values=images).last_hidden_state, **LOGITS)


@pytest.mark.parametrize("size", [(24, 24), (8, 28)], ids=str)
def test_other_image_sizes_stretch_offsets_and_positions_as_the_reference_does(size, tmp_path):
    theirs = shaken(model(use_absolute_position_embeddings=True, **OFFSETS, **SHARED))
    loaded = pretrained.load(saved(theirs, tmp_path / "theirs"), image_size=size)
    images = pixels(2, 3, *size)
    expected = theirs(pixel_values=images, interpolate_pos_encoding=True).logits
    torch.testing.assert_close(pretrained.as_reference(loaded)(pixel_values=images).logits, expected, **LOGITS)
    if size[0] == size[1]:
        loaded.save_pretrained(tmp_path / "ours")
        again = loads_whole(CLASSES, tmp_path / "ours")
        torch.testing.assert_close(again(pixel_values=images).logits, expected, **LOGITS)


def test_a_table_of_another_shape_than_a_square_is_refused():
    config = model(**OFFSETS).config.to_dict() | {"image_size": [16, 8]}
    with pytest.raises(ValueError, match=r"image_size=\[16, 8\] and offsets between patches"):
        pretrained.family_of(config)


def test_pictures_are_prepared_as_its_processor_does(tmp_path):
    theirs = shaken(model(num_labels=4, **OFFSETS))
    processor = transformers.BeitImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(saved(theirs, tmp_path))
    picture = Image.linear_gradient("L").resize((31, 20)).convert("RGB")
    expected = theirs(pixel_values=processor(picture, return_tensors="pt")["pixel_values"]).logits.softmax(-1)[0]
    (said,) = pretrained.load(tmp_path).predict([picture])
    torch.testing.assert_close(torch.tensor(list(said.probabilities.values())), expected, rtol=1e-4, atol=1e-4)
