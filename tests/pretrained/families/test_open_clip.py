"""CLIP in files of open_clip, beside open_clip itself."""

import json

import pytest
import torch
import vocabularies
from PIL import Image
from safetensors.torch import save_file
from twins import LOGITS, agree, compare_gradients, counted, shaken, weighted
from vision import pixels

import omniformer
from omniformer import pretrained
from omniformer.zero_shot import ZeroShot

open_clip = pytest.importorskip("open_clip")
SIZES = {
    "embed_dim": 10,
    "vision_cfg": {"layers": 2, "width": 24, "head_width": 8, "patch_size": 4, "image_size": 16},
    "text_cfg": {"layers": 1, "width": 16, "heads": 2, "vocab_size": 29, "context_length": 12},
}
CASES = {
    "plain": {},
    "quick gelu, a tower of texts by itself": {"quick_gelu": True, "custom_text": True},
    "wider maps": {"vision_cfg": SIZES["vision_cfg"] | {"mlp_ratio": 3.0, "image_size": [8, 16]}},
}


def made(folder, vocab_size=29, log_scale=0.5, **changed):
    """A tiny model of open_clip in a folder, in its layout."""
    config = SIZES | changed
    config["text_cfg"] = config["text_cfg"] | {"vocab_size": vocab_size}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    options = {key: value for key, value in config.items() if key != "custom_text"}
    theirs = shaken(kind(**options))
    with torch.no_grad():
        theirs.logit_scale.fill_(log_scale)
    folder.mkdir(parents=True, exist_ok=True)
    written = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.4] * 3, "interpolation": "bicubic"}}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    save_file(
        {name: each.contiguous() for name, each in theirs.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return theirs


def texts():
    """Ids that end with the largest one, and zeros behind it."""
    ids = torch.randint(1, 28, (3, 12), generator=torch.Generator().manual_seed(0))
    for row, n in enumerate((7, 3, 12)):
        ids[row, n - 1], ids[row, n:] = 28, 0
    return ids


def similarities(theirs, ids, images):
    pictures, words, scale = theirs(images, ids)[:3]
    return scale * words @ pictures.T


@pytest.mark.quick("plain")
@pytest.mark.parametrize("case", CASES)
def test_similarities_gradients_and_the_way_back(case, tmp_path):
    # A small scale: float32 rounds gradients at 1e-7 of their size, which the factor multiplies.
    theirs = made(tmp_path / "theirs", log_scale=-1.0, **CASES[case])
    ours = pretrained.load(tmp_path / "theirs")
    ids, images = texts(), pixels(2, 3, *_size(ours))
    expected = similarities(theirs, ids, images)
    found = pretrained.as_reference(ours)(input_ids=ids, pixel_values=images).logits_per_text
    agree(found, expected)
    weighted(expected).backward()
    weighted(found).backward()
    compare_gradients(ours, theirs)
    ours.save_pretrained(tmp_path / "ours")
    again = open_clip.create_model(f"local-dir:{tmp_path / 'ours'}").eval()
    before, after = theirs.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def _size(ours):
    size = ours.family.vision["image_size"]
    return (size, size) if isinstance(size, int) else size


def test_other_image_sizes_stretch_the_positions_as_open_clip_does(tmp_path):
    made(tmp_path / "theirs")
    loaded = pretrained.load(tmp_path / "theirs", image_size=(24, 24))
    ids, images = texts(), pixels(2, 3, 24, 24)
    theirs = open_clip.create_model(f"local-dir:{tmp_path / 'theirs'}", force_image_size=24).eval()
    found = pretrained.as_reference(loaded)(input_ids=ids, pixel_values=images).logits_per_text
    torch.testing.assert_close(found, similarities(theirs, ids, images), **LOGITS)


def test_classes_told_by_words_have_the_scores_of_open_clip(tmp_path):
    tokenizer = vocabularies.KINDS["CLIP"]()
    tokenizer.save_pretrained(tmp_path)
    theirs = made(tmp_path, vocab_size=len(tokenizer))
    picture = Image.linear_gradient("L").resize((31, 20)).convert("RGB")
    labels = ["cat", "dog", "ox"]
    ids = torch.tensor(tokenizer(labels, padding="max_length", max_length=12).input_ids)
    assert int(ids.max()) == len(tokenizer) - 1
    prepare = open_clip.image_transform(16, is_train=False, mean=(0.5,) * 3, std=(0.4,) * 3)
    expected = similarities(theirs, ids, prepare(picture)[None]).T.softmax(-1)[0]
    (said,) = ZeroShot(omniformer.load(tmp_path), labels).predict([picture])
    # Pillow rounds some pixels the other way.
    torch.testing.assert_close(torch.tensor([said.probabilities[each] for each in labels]), expected, rtol=0, atol=1e-3)


def test_the_published_model_has_the_published_number_of_weights():
    cfg = {"embed_dim": 512, "vision_cfg": {"patch_size": 32}, "text_cfg": {}}
    assert counted({"model_cfg": cfg}) == 151_277_313


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vision_cfg": {"timm_model_name": "vit"}}, "vision_cfg has timm_model_name='vit'; accepted: layers, width"),
        ({"text_cfg": {"hf_model_name": "bert"}}, "text_cfg has hf_model_name='bert'; accepted: layers, width"),
        ({"init_logit_bias": -10}, "model_cfg has init_logit_bias=-10; accepted: embed_dim"),
    ],
)
def test_what_is_not_expressed_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of({"model_cfg": changed}).recipe
