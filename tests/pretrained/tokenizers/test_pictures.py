"""Pixels beside the reference library's image processors."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from twins import transformers

from omniformer.pretrained.reference.patches import patches
from omniformer.pretrained.tokenizers.native_size import native_size_tokenizer
from omniformer.pretrained.tokenizers.picture_blocks import picture_block_tokenizer
from omniformer.pretrained.tokenizers.picture_tiles import picture_tile_tokenizer
from omniformer.pretrained.tokenizers.pictures import picture_tokenizer

P = 4


def photograph(height, width, mode="RGB", seed=0):
    """A picture with slopes, edges and grain, as photographs have."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(9 * x + 5 * y * k) + np.sign(np.sin(14 * y * k - 4 * x)) for k in (1, 2, 3)]
    channels = np.stack(waves, axis=-1) * 50 + 128 + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(channels.clip(0, 255).astype(np.uint8)).convert(mode)


def ours(processor, folder, size, **options):
    processor.save_pretrained(folder)
    return picture_tokenizer(
        folder, processor="ViTImageProcessor", patch_size=P, channels=3, image_size=size, **options
    )["vision"]


def same_pixels(tokenizer, processor, picture):
    expected = patches(processor(picture, return_tensors="pt")["pixel_values"], P, n_class_tokens=1, modality="vision")
    tokens = tokenizer(picture)
    torch.testing.assert_close(tokens.values, expected.values, rtol=0, atol=1e-4)
    assert torch.equal(tokens.positions, expected.positions)
    assert torch.equal(tokens.features["class_token"], expected.features["class_token"])


SIZES = [(61, 47), (20, 83), (90, 19), (9, 14), (24, 24), (300, 401)]


@pytest.mark.quick(12)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("processor", "made"),
    [
        (transformers.ViTImageProcessor(size={"height": 24, "width": 24}), (24, 24)),
        (transformers.ViTImageProcessor(size={"height": 20, "width": 33}, resample=3), (20, 33)),
        (transformers.ViTImageProcessor(size={"height": 24, "width": 24}, resample=0), (24, 24)),
        (transformers.ViTImageProcessor(size={"height": 24, "width": 24}, resample=1), (24, 24)),
        (transformers.DeiTImageProcessor(size={"height": 27, "width": 27}, crop_size=24), (24, 24)),
        (transformers.DeiTImageProcessor(do_resize=False, crop_size=24), (24, 24)),
        (transformers.CLIPImageProcessor(size={"shortest_edge": 24}, crop_size=24), (24, 24)),
        (transformers.CLIPImageProcessor(size={"shortest_edge": 30}, crop_size={"height": 24, "width": 20}), (24, 20)),
        (transformers.CLIPImageProcessor(size={"shortest_edge": 10}, crop_size=24, do_normalize=False), (24, 24)),
        (transformers.BitImageProcessor(size={"shortest_edge": 27}, crop_size=24), (24, 24)),
        (transformers.SiglipImageProcessor(size={"height": 24, "width": 24}), (24, 24)),
        (transformers.DINOv3ViTImageProcessor(size={"height": 24, "width": 24}), (24, 24)),
        (transformers.ViTImageProcessor(size={"height": 24, "width": 24}, do_rescale=False), (24, 24)),
        (transformers.ViTImageProcessor(size={"height": 24, "width": 24}, rescale_factor=1 / 127.5), (24, 24)),
    ],
    ids=[
        "vit",
        "bicubic",
        "nearest",
        "lanczos",
        "deit",
        "crop alone",
        "clip",
        "crop",
        "black border",
        "bit",
        "siglip",
        "dinov3",
        "raw",
        "factor",
    ],
)
def test_pixels_equal_the_reference_s(processor, made, size, tmp_path):
    same_pixels(ours(processor, tmp_path, made), processor, photograph(*size))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_pictures_of_other_colours_are_converted_as_clip_converts_them(mode, tmp_path):
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 24}, crop_size=24)
    picture = photograph(41, 30, mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    same_pixels(ours(processor, tmp_path, (24, 24)), processor, picture)


@pytest.mark.parametrize("size", SIZES[:3], ids=str)
def test_pictures_keep_their_size_where_nothing_is_said(size, tmp_path):
    processor = transformers.ViTImageProcessor(do_resize=False)
    same_pixels(ours(processor, tmp_path, (224, 224)), processor, photograph(*size))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_chosen_size_is_that_of_a_processor_told_the_same(size, tmp_path):
    tokenizer = ours(transformers.ViTImageProcessor(), tmp_path / "vit", (28, 40), chosen=True)
    told = transformers.ViTImageProcessor(size={"height": 28, "width": 40})
    same_pixels(tokenizer, told, photograph(*size))
    tokenizer = ours(transformers.CLIPImageProcessor(), tmp_path / "clip", (28, 40), chosen=True)
    told = transformers.CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 28, "width": 40})
    same_pixels(tokenizer, told, photograph(*size))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            {"feature_extractor_type": "ViTFeatureExtractor", "size": 24, "image_mean": [0.1, 0.2, 0.3]},
            transformers.ViTImageProcessor(size={"height": 24, "width": 24}, image_mean=[0.1, 0.2, 0.3]),
        ),
        (
            {"feature_extractor_type": "CLIPFeatureExtractor", "size": 26, "crop_size": 24, "resample": 3},
            transformers.CLIPImageProcessor(size={"shortest_edge": 26}, crop_size=24),
        ),
        ({"size": 24}, transformers.ViTImageProcessor(size={"height": 24, "width": 24})),
        (
            {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 24, "height": None}},
            transformers.CLIPImageProcessor(size={"shortest_edge": 24}, do_center_crop=False),
        ),
    ],
    ids=["old vit", "old clip", "nameless", "fast"],
)
def test_files_of_older_and_newer_versions_are_read(written, told, tmp_path):
    settings = written if "Fast" not in str(written) else written | {"do_center_crop": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    tokenizer = picture_tokenizer(
        tmp_path, processor="ViTImageProcessor", patch_size=P, channels=3, image_size=(24, 24)
    )["vision"]
    same_pixels(tokenizer, told, photograph(50, 37))


def test_a_processor_inside_a_file_of_several_is_found(tmp_path):
    settings = {"image_processor": transformers.ViTImageProcessor(size={"height": 8, "width": 8}).to_dict()}
    (tmp_path / "processor_config.json").write_text(json.dumps(settings))
    tokenizer = picture_tokenizer(tmp_path, processor="ViTImageProcessor", patch_size=P, channels=3, image_size=(8, 8))[
        "vision"
    ]
    assert len(tokenizer(photograph(10, 30))) == 5


def test_a_folder_that_says_nothing_of_pictures_has_no_tokenizer(tmp_path):
    assert picture_tokenizer(tmp_path, processor="ViTImageProcessor", patch_size=P, channels=3, image_size=(8, 8)) == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_processor_type": "BlipImageProcessor"}, "image_processor_type='BlipImageProcessor'; accepted: ViT"),
        ({"resample": 4}, r"resample=4; accepted: 0 \(nearest\), 1 \(lanczos\)"),
        ({"size": {"longest_edge": 30}}, "size={'longest_edge': 30}; accepted: a number, height and width"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 3}}, "crop_size={'shortest_edge': 3}; accepted"),
        ({"do_pad": True}, "do_pad=True is not supported"),
        ({"size": 32}, r"height and width \(32, 32\), those of config.json \(24, 24\); .*image_size=\(32, 32\)"),
        ({"image_std": [0.5, 0.0, 0.5]}, "must be positive"),
    ],
)
def test_what_is_not_known_is_refused_by_file_and_key(wrong, message, tmp_path):
    settings = {"image_processor_type": "ViTImageProcessor", "size": 24} | wrong
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"preprocessor_config.json: .*{message}"):
        picture_tokenizer(tmp_path, processor="ViTImageProcessor", patch_size=P, channels=3, image_size=(24, 24))


READERS = {
    "squares": partial(native_size_tokenizer, patch_size=16, channels=3),
    "blocks": partial(picture_block_tokenizer, patch_size=14, channels=3, block=2, frames=2),
    "tiles": partial(
        picture_tile_tokenizer, processor="SmolVLMImageProcessor", patch_size=14, channels=3, image_size=364, block=4
    ),
}


@pytest.mark.parametrize(
    ("reader", "wrong", "message"),
    [
        ("squares", {"patch_size": 14}, "patch_size=14, config.json says 16: it is the processor of another model"),
        ("blocks", {"merge_size": 3}, "merge_size=3, config.json says 2: it is the processor of another model"),
        ("blocks", {"temporal_patch_size": 1}, "temporal_patch_size=1, config.json says 2"),
        ("tiles", {"max_image_size": {"longest_edge": 384}}, "max_image_size=384, config.json says image_size=364"),
        *(
            (reader, {"image_processor_type": "ViTImageProcessor"}, "type='ViTImageProcessor'; accepted: ")
            for reader in READERS
        ),
        *((reader, {"resample": 9}, "resample=9; accepted: 0 (nearest)") for reader in READERS),
    ],
)
def test_settings_of_another_model_are_refused_by_file_and_key_by_readers_of_pictures_of_any_size(
    reader, wrong, message, tmp_path
):
    assert READERS[reader](tmp_path) == {}
    file = tmp_path / "preprocessor_config.json"
    file.write_text("{}")
    assert set(READERS[reader](tmp_path)) == {"vision"}
    file.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match=re.escape(message)) as told:
        READERS[reader](tmp_path)
    assert str(told.value).startswith(f"{file}: ")
