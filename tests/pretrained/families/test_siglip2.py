"""SigLIP 2 of any size and shape beside the reference library."""

import pytest
import torch
from PIL import Image
from twins import LOGITS, counted, ragged_ids, saved, shaken, transformers, twin
from vision import loads_whole

import omniformer
from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
PICTURES = {"num_patches": 16, "patch_size": 4}
TEXTS = {"vocab_size": 29, "max_position_embeddings": 12}


def model(**others):
    return transformers.Siglip2VisionModel(transformers.Siglip2VisionConfig(**(SIZES | PICTURES | others)))


def pair(text=None, **others):
    told = {"vision_config": SIZES | PICTURES | others, "text_config": SIZES | TEXTS | (text or {})}
    return transformers.Siglip2Model(transformers.Siglip2Config(**told))


def patches(*shapes, features=48, most=20):
    """Pictures of so many rows and columns of patches, padded."""
    n = torch.tensor([rows * columns for rows, columns in shapes])
    values = torch.randn(len(shapes), most, features, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(most)[None] < n[:, None]
    return {
        "pixel_values": values * mask[..., None],
        "pixel_attention_mask": mask.long(),
        "spatial_shapes": torch.tensor(shapes),
    }


SHAPES = [(4, 4), (2, 9), (20, 1), (3, 5)]


@pytest.mark.quick("pooled")
@pytest.mark.parametrize(
    ("output", "others", "features"),
    [
        ("pooler_output", {}, 48),
        ("pooler_output", {"num_channels": 1, "num_patches": 9, "hidden_act": "relu"}, 16),
        ("last_hidden_state", {"vision_use_head": False, "num_hidden_layers": 1, "patch_size": 2}, 12),
    ],
    ids=["pooled", "grey", "without a head"],
)
def test_pictures_of_several_shapes_have_the_references_outputs_and_gradients(output, others, features, tmp_path):
    given = patches(*SHAPES, features=features)
    mask = given["pixel_attention_mask"] if output == "last_hidden_state" else None
    twin(model(**others), tmp_path, lambda out: getattr(out, output), given, mask)
    loads_whole(transformers.Siglip2VisionModel, tmp_path / "ours")


def test_both_towers(tmp_path):
    ids, _ = ragged_ids(29, lengths=(12, 12))
    twin(pair(), tmp_path, lambda out: out.logits_per_image, patches(*SHAPES) | {"input_ids": ids})


def test_the_tower_of_texts_alone(tmp_path):
    config = transformers.Siglip2TextConfig(**(SIZES | TEXTS | {"projection_size": 16}))
    ids, _ = ragged_ids(29, lengths=(12, 12))
    twin(transformers.Siglip2TextModel(config), tmp_path, lambda out: out.pooler_output, {"input_ids": ids})


@pytest.mark.parametrize("size", [(31, 20), (9, 64), (100, 100), (5, 3)], ids=str)
def test_pictures_are_prepared_in_their_own_shape_as_its_processor_does(size, tmp_path):
    theirs = shaken(model())
    processor = transformers.Siglip2ImageProcessor(patch_size=4, max_num_patches=20)
    processor.save_pretrained(saved(theirs, tmp_path))
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    given = processor(picture, return_tensors="pt")
    loaded = pretrained.load(tmp_path)
    tokens = loaded.tokenizers["vision"] if loaded.tokenizers else loaded.members["picture"].tokenizers["vision"]
    read = tokens(picture)
    rows, columns = given["spatial_shapes"][0].tolist()
    assert read.positions[-1].tolist() == [rows - 1, columns - 1]
    expected = given["pixel_values"][0, : rows * columns].unflatten(1, (16, 3)).transpose(1, 2).flatten(1)
    torch.testing.assert_close(read.values, expected, rtol=0, atol=1.01 / 127.5)
    assert float((read.values - expected).abs().mean()) < 0.002


def test_a_saved_model_embeds_pictures_of_any_shape_alike(tmp_path):
    theirs = shaken(model())
    transformers.Siglip2ImageProcessor(patch_size=4, max_num_patches=20).save_pretrained(saved(theirs, tmp_path))
    loaded = pretrained.load(tmp_path)
    pictures = [Image.linear_gradient("L").resize(size).convert("RGB") for size in ((31, 20), (9, 64))]
    together, alone = loaded.embed(pictures), torch.cat([loaded.embed([each]) for each in pictures])
    torch.testing.assert_close(together, alone, **LOGITS)
    omniformer.save(tmp_path / "ours", loaded, recipe=loaded.recipe)
    torch.testing.assert_close(omniformer.load(tmp_path / "ours").embed(pictures), together)


def test_the_published_size_is_counted_exactly():
    with torch.device("meta"):
        theirs = transformers.Siglip2Model(transformers.Siglip2Config())
    assert counted({"model_type": "siglip2"}) == sum(each.numel() for each in theirs.parameters())


@pytest.mark.parametrize(
    ("key", "message"),
    [({"num_patches": 15}, "num_patches=15; accepted: a square"), ({"patch_size": [4, 2]}, "patch_size")],
)
def test_what_it_cannot_be_is_refused(key, message):
    with pytest.raises(ValueError, match=message):
        pretrained.family_of({"model_type": "siglip2_vision_model", **SIZES, **PICTURES, **key}).recipe  # noqa: B018


def test_a_size_is_not_chosen_and_a_mask_must_fit_the_shapes(tmp_path):
    saved(shaken(model()), tmp_path)
    with pytest.raises(ValueError, match="reads pictures of any size and shape; leave it out"):
        pretrained.load(tmp_path, image_size=(32, 32))
    given = patches((4, 4)) | {"spatial_shapes": torch.tensor([[4, 3]])}
    with pytest.raises(ValueError, match="spatial_shapes say 4 x 3 patches of row 0, pixel_attention_mask 16"):
        pretrained.as_reference(pretrained.load(tmp_path))(**given)
