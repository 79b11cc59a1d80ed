"""Models of timm, by its own names, beside timm itself."""

import json

import pytest
import torch
from PIL import Image
from twins import LOGITS, agree, compare_gradients, counted, shaken, weighted
from vision import pixels

import omniformer
from omniformer import pretrained

timm = pytest.importorskip("timm")
SIZES = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}
CASES = {
    "ViT": ("vit_base_patch16_224", {"num_classes": 5}),
    "features of CLIP's tower": ("vit_base_patch16_clip_quickgelu_224", {"num_classes": 0}),
    "mean, gains": ("vit_small_patch14_dinov2", {"num_classes": 3, "global_pool": "avg", "in_chans": 1}),
    "not square": ("deit_tiny_patch16_224", {"num_classes": 4, "img_size": (8, 16), "qkv_bias": False}),
    "EVA-02": ("eva02_tiny_patch14_224", {"num_classes": 5, "ref_feat_shape": (4, 4)}),
    "EVA-02, norms": ("eva02_base_patch14_448", {"num_classes": 0, "ref_feat_shape": 2, "in_chans": 1}),
    "EVA": ("eva_giant_patch14_224", {"num_classes": 6, "patch_size": 8}),
}


def made(case, folder):
    """A tiny model of timm in a folder, as it writes it."""
    name, others = CASES[case]
    theirs = shaken(timm.create_model(name, **(SIZES | others)))
    timm.models.save_for_hf(theirs, folder, {"pretrained_cfg": {"crop_mode": "squash"}}, safe_serialization=True)
    return theirs


@pytest.mark.quick("ViT", "EVA-02, norms", "EVA")
@pytest.mark.parametrize("case", CASES)
def test_outputs_gradients_and_the_way_back(case, tmp_path):
    theirs = made(case, tmp_path / "theirs")
    ours = pretrained.load(tmp_path / "theirs")
    args = ours.family.args
    images = pixels(2, args["in_chans"], *ours.family.image_size)
    output = "logits" if args["num_classes"] else "pooler_output"
    expected, found = theirs(images), getattr(pretrained.as_reference(ours)(pixel_values=images), output)
    agree(found, expected)
    weighted(expected).backward()
    weighted(found).backward()
    compare_gradients(ours, theirs)
    ours.save_pretrained(tmp_path / "ours")
    again = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    before, after = theirs.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    agree(again(images), expected)


@pytest.mark.parametrize(
    ("case", "size"),
    [("ViT", (24, 24)), ("ViT", (8, 12)), ("EVA-02", (24, 24))],
    ids=["larger", "not square", "EVA-02"],
)
def test_other_image_sizes_stretch_the_positions_as_timm_does(case, size, tmp_path):
    made(case, tmp_path / "theirs")
    loaded = pretrained.load(tmp_path / "theirs", image_size=size)
    images = pixels(2, 3, *size)
    expected = timm.create_model(f"local-dir:{tmp_path / 'theirs'}", pretrained=True, img_size=size).eval()(images)
    torch.testing.assert_close(pretrained.as_reference(loaded)(pixel_values=images).logits, expected, **LOGITS)
    loaded.save_pretrained(tmp_path / "ours")
    again = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    torch.testing.assert_close(again(images), expected, **LOGITS)


@pytest.mark.parametrize(
    "changed", [{"crop_mode": "center"}, {"crop_mode": "squash", "interpolation": "bilinear", "crop_pct": 0.8}]
)
def test_pictures_are_prepared_as_timm_does(changed, tmp_path):
    theirs = made("ViT", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"] |= changed
    config["label_names"] = ["a", "b", "c", "d", "e"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    prepare = timm.data.create_transform(**timm.data.resolve_data_config(config["pretrained_cfg"]), is_training=False)
    picture = Image.linear_gradient("L").resize((31, 20)).convert("RGB")
    loaded = omniformer.load(tmp_path)
    (member,) = loaded.members.values()
    found = (
        member.tokenizers["vision"](picture).values[1:].view(4, 4, 3, 4, 4).permute(2, 0, 3, 1, 4).reshape(3, 16, 16)
    )
    expected = prepare(picture)
    torch.testing.assert_close(found, expected, rtol=0, atol=1.01 / 127.5)  # Pillow rounds some pixels the other way
    assert (found - expected).abs().mean() < 1e-3
    (said,) = loaded.predict([picture])
    shares = torch.tensor([said.probabilities[name] for name in config["label_names"]])
    torch.testing.assert_close(shares, theirs(expected[None]).softmax(-1)[0], rtol=0, atol=2e-3)


def test_a_file_of_pictures_that_are_no_squares_must_say_how_they_are_made(tmp_path):
    made("not square", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"]["crop_mode"] = "center"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"crop_mode='center' for pictures of \(8, 16\); accepted: 'center' for squares"
    ):
        pretrained.load(tmp_path)


def test_published_names_alone_say_how_large_a_model_is():
    assert counted({"architecture": "vit_base_patch16_224", "num_classes": 1000}) == 86_567_656
    assert counted({"architecture": "vit_large_patch16_224", "num_classes": 1000}) == 304_326_632
    assert counted({"architecture": "eva02_tiny_patch14_224", "num_classes": 0}) == 5_502_144
    assert counted({"architecture": "eva02_base_patch14_448", "num_classes": 1000}) == 87_117_544
    assert counted({"architecture": "eva_giant_patch14_224", "num_classes": 1000}) == 1_012_555_112


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "resnet50"}, "architecture='resnet50'; of timm these are read"),
        ({"architecture": "vit_giant_patch14_224"}, "architecture='vit_giant_patch14_224'; of timm"),
        ({"architecture": "eva_giant_patch14_clip_224"}, "architecture='eva_giant_patch14_clip_224'; of timm"),
        ({"model_args": {"reg_tokens": 4}}, "model_args with 'reg_tokens'; accepted: depth, embed_dim"),
        ({"architecture": "eva02_base_patch16_clip_224"}, "of EVA-02 these are read"),
        (
            {"architecture": "eva02_tiny_patch14_224", "model_args": {"init_values": 0.1}},
            "with 'init_values'; accepted",
        ),
        ({"global_pool": "map"}, "global_pool='map'; accepted: 'token', 'avg'"),
    ],
)
def test_what_is_not_expressed_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        pretrained.family_of({"architecture": "vit_base_patch16_224"} | changed)


@pytest.mark.parametrize("size", [[112, 112], [224, 448]])
def test_eva02_of_other_shapes_than_it_turns_through_is_refused(size):
    family = pretrained.family_of({"architecture": "eva02_tiny_patch14_224", "model_args": {"img_size": size}})
    with pytest.raises(ValueError, match=r"ref_feat_shape=\(16, 16\); accepted: as many times more rows as columns"):
        family.recipe  # noqa: B018
