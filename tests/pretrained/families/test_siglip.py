"""SigLIP's tower of pictures beside the reference library."""

import pytest
import torch
from PIL import Image
from twins import LOGITS, saved, shaken, transformers, twin
from vision import loads_whole, pixels

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
PICTURES = {"image_size": 16, "patch_size": 4}


def model(**others):
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**(SIZES | PICTURES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("output", "others", "channels"),
    [
        ("pooler_output", {}, 3),
        ("pooler_output", {"num_channels": 1, "hidden_act": "relu", "layer_norm_eps": 1e-3}, 1),
        ("last_hidden_state", {"vision_use_head": False, "num_hidden_layers": 1, "patch_size": 8}, 3),
    ],
    ids=["pooled", "grey", "without a head"],
)
def test_outputs_gradients_and_the_way_back(output, others, channels, tmp_path):
    inputs = {"pixel_values": pixels(2, channels, 16, 16)}
    twin(model(**others), tmp_path, lambda out: getattr(out, output), inputs)
    loads_whole(transformers.SiglipVisionModel, tmp_path / "ours")


@pytest.mark.parametrize("size", [(24, 24), (8, 28)], ids=str)
def test_other_image_sizes_stretch_the_positions_as_the_reference_does(size, tmp_path):
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path), image_size=size))
    images = pixels(2, 3, *size)
    expected = theirs(pixel_values=images, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(ours(pixel_values=images).pooler_output, expected, **LOGITS)


def test_pictures_are_prepared_as_its_processor_does(tmp_path):
    theirs = shaken(model())
    processor = transformers.SiglipImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(saved(theirs, tmp_path))
    picture = Image.linear_gradient("L").resize((31, 20)).convert("RGB")
    expected = theirs(pixel_values=processor(picture, return_tensors="pt")["pixel_values"]).last_hidden_state.mean(1)
    found = pretrained.load(tmp_path).embed([picture], pool="mean")
    normalize = torch.nn.functional.normalize
    torch.testing.assert_close(normalize(found, dim=-1), normalize(expected, dim=-1), rtol=1e-4, atol=1e-4)
