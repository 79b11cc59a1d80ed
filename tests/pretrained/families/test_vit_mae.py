"""The encoder of masked autoencoders beside the reference library."""

import pytest
import torch
from twins import LOGITS, saved, shaken, transformers, twin
from vision import as_written, loads_whole, pixels

from omniformer import pretrained

MODEL, WHOLE = transformers.ViTMAEModel, transformers.ViTMAEForPreTraining
SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"image_size": 16, "patch_size": 4}
DECODER = {f"decoder_{name}": size for name, size in SIZES.items() if name not in ("image_size", "patch_size")}
NOISE = torch.rand(2, 16, generator=torch.Generator().manual_seed(0))


def model(kind=MODEL, **others):
    return kind(transformers.ViTMAEConfig(**(SIZES | others)))


def learned(theirs):
    """As `as_written`, without the positions, which have no gradient there."""
    written = as_written(theirs)
    return lambda named: {name: each for name, each in written(named).items() if "position" not in name}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "others",
    [{}, {"mask_ratio": 0.4, "qkv_bias": False, "num_channels": 1}, {"hidden_act": "relu", "layer_norm_eps": 1e-3}],
    ids=["usual", "no offsets", "relu"],
)
def test_outputs_gradients_and_the_way_back(others, tmp_path):
    theirs = model(**others)
    inputs = {"pixel_values": pixels(2, others.get("num_channels", 3), 16, 16), "noise": NOISE}
    twin(theirs, tmp_path, lambda out: out.last_hidden_state, inputs, as_filed=learned(theirs))
    loads_whole(MODEL, tmp_path / "ours")


def test_of_a_file_of_pre_training_the_encoder_is_read_and_the_decoder_said_to_be_left(tmp_path):
    theirs = shaken(model(WHOLE, mask_ratio=0.0, **DECODER))
    ours = pretrained.load(saved(theirs, tmp_path / "theirs"))
    assert ours.report.unexpected and all(name.startswith("decoder.") for name in ours.report.unexpected)
    images, in_order = pixels(2, 3, 16, 16), torch.arange(16.0).expand(2, 16)
    expected = theirs.vit(pixel_values=images, noise=in_order).last_hidden_state
    found = pretrained.as_reference(ours)(pixel_values=images).last_hidden_state
    torch.testing.assert_close(found, expected, **LOGITS)
    ours.save_pretrained(tmp_path / "ours")
    again = loads_whole(MODEL, tmp_path / "ours")
    torch.testing.assert_close(again(pixel_values=images, noise=in_order).last_hidden_state, expected, **LOGITS)
