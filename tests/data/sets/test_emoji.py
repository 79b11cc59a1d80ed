import gzip
import json

import numpy as np
import pytest
import torch

from omniformer.data.sets.emoji import Emoji


def caption(code, name, group, split, *, skin_tone=False, aliases=(), tags=()):
    words = {"aliases": list(aliases), "tags": list(tags)}
    base = str(name).partition(":")[0]
    return {"code": code, "name": name, "base": base, "skin_tone": skin_tone, "group": group, "split": split} | words


CAPTIONS = [
    caption("1f600", "grinning face", "Smileys", "train", aliases=["grinning", "big_grin"], tags=["smile", "grinning"]),
    caption("1f44d", "thumbs up", "People", "train"),
    caption("1f44d-1f3ff", "thumbs up: dark skin tone", "People", "train", skin_tone=True),
    caption("1f408", "cat", "Animals", "val"),
    caption("1f436", "dog face", "Animals", "test"),
    caption("1f439", "hamster", "Animals", "train"),
]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(256, size=(len(CAPTIONS), 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path, pixels):
    """Writes a data set; returns its root."""

    def write(captions=CAPTIONS, images=pixels):
        (tmp_path / "emoji").mkdir()
        lines = "\n".join(json.dumps(row) if isinstance(row, dict) else row for row in captions) + "\n"
        (tmp_path / "emoji/captions.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        np.savez(tmp_path / "emoji/twemoji_64.npz", images=images)
        return str(tmp_path)

    return write


def test_a_sample_is_the_picture_and_then_its_name(root, pixels):
    source = Emoji(data_root=root())
    assert source.labels == ("Animals", "People", "Smileys")
    codes = [row["code"] for row in (*CAPTIONS[:3], CAPTIONS[5])]
    assert [raw.id for raw in source.split("train")] == [f"emoji/train/{code}" for code in codes]
    (raw,) = source.split("val")
    assert list(raw.contents) == ["vision", "text"]
    assert torch.equal(raw.contents["vision"], torch.from_numpy(pixels[3]).permute(2, 0, 1))
    assert raw.contents["text"] == "cat"
    assert int(raw.targets["label"]) == 0


def test_skin_tones_can_be_left_out_and_the_groups_stay(root):
    source = Emoji(data_root=root(), skin_tones=False)
    assert [raw.contents["text"] for raw in source.split("train")] == ["grinning face", "thumbs up", "hamster"]
    assert source.facts == {"n_classes": 3}


def test_keywords_follow_the_name_each_once(root):
    texts = [raw.contents["text"] for raw in Emoji(data_root=root(), text="keywords").split("train")]
    assert texts == ["grinning face, grinning, big grin, smile", "thumbs up", "thumbs up: dark skin tone", "hamster"]


def test_an_unknown_text_is_refused():
    with pytest.raises(ValueError, match="text='title' is not known; choose 'name' or 'keywords'"):
        Emoji(text="title")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 5: not JSON"),
        ("[]", "line 5: expected an object, received list"),
    ],
)
def test_a_wrong_caption_is_told_by_its_line(root, row, message):
    with pytest.raises(ValueError, match=rf"captions\.jsonl\.gz, {message}"):
        Emoji(data_root=root([*CAPTIONS[:4], row, CAPTIONS[5]])).split("train")


def test_pictures_must_match_the_captions(root, pixels):
    with pytest.raises(ValueError, match=r"captions\.jsonl\.gz has 6 rows and .*twemoji_64\.npz 4"):
        Emoji(data_root=root(images=pixels[:4])).split("train")


def test_names_that_differ_by_skin_tone_or_gender_alone_are_in_one_split(root):
    people = [
        caption("1", "artist", "People", "test"),
        caption("2", "woman artist", "People", "train"),
        caption("3", "man artist: dark skin tone", "People", "train", skin_tone=True),
        caption("4", "mermaid", "People", "val"),
        caption("5", "merman", "People", "train"),
    ]
    rest = [caption("6", "dog", "People", "train")]
    images = np.zeros((6, 64, 64, 3), np.uint8)
    source = Emoji(data_root=root([*people, *rest], images))
    found = {name: [raw.id for raw in source.split(name)] for name in ("train", "val", "test")}
    assert found == {
        "train": ["emoji/train/6"],
        "val": ["emoji/val/4", "emoji/val/5"],
        "test": ["emoji/test/1", "emoji/test/2", "emoji/test/3"],
    }


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"captions\.jsonl\.gz"):
        Emoji(data_root=str(tmp_path)).split("train")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* hold what a row of training holds")
def test_the_real_set_has_ten_groups_and_unique_names(shared_data):
    source = Emoji(data_root=str(shared_data))
    raws = [raw for name in ("train", "val", "test") for raw in source.split(name)]
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [2_527, 331, 432]
    assert len({raw.id for raw in raws}) == len({raw.contents["text"] for raw in raws}) == 3_290
    assert source.facts == {"n_classes": 10}
    plain = Emoji(data_root=str(shared_data), skin_tones=False)
    assert [len(plain.split(name)) for name in ("train", "val", "test")] == [1_414, 179, 202]
