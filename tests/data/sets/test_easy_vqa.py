import gzip
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch

from omniformer.data.sets import easy_vqa
from omniformer.data.sets.easy_vqa import COMMIT, EasyVQA

ANSWERS = ["yes", "circle", "no"]
QUESTIONS = {
    "train": [
        ["what shape is it?", "circle", 0],
        ["is it red?", "yes", 1],
        ["is it blue?", "no", 1],
        ["is it blue?", "yes", 10],
    ],
    "test": [["is it green?", "no", 0]],
}


@pytest.fixture
def pixels():
    chance = np.random.default_rng(0)
    return {part: chance.integers(256, size=(n, 64, 64, 3), dtype=np.uint8) for part, n in (("train", 11), ("test", 2))}


@pytest.fixture
def packed(tmp_path, pixels):
    """Writes a data set as it is laid out here; returns its root."""

    def write(questions=QUESTIONS, answers=ANSWERS, images=pixels):
        folder = tmp_path / "packed/easy_vqa"
        folder.mkdir(parents=True)
        content = json.dumps({"answers": answers, **questions})
        (folder / "questions.json.gz").write_bytes(gzip.compress(content.encode()))
        np.savez(folder / "images.npz", **{f"x_{part}": images[part] for part in images})
        return str(tmp_path / "packed")

    return write


def png(pixels):
    from PIL import Image

    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


@pytest.fixture
def published(tmp_path, pixels, monkeypatch):
    """Offers the publisher's archive for download, with changes by file; returns a root without data."""

    def publish(changes=None):
        data = f"easy-VQA-{COMMIT}/easy_vqa/data"
        files = {f"{data}/answers.txt": "\n".join(reversed(ANSWERS)) + "\n"}
        for part, pictures in pixels.items():
            files[f"{data}/{part}/questions.json"] = json.dumps(QUESTIONS[part])
            files |= {f"{data}/{part}/images/{i}.png": png(picture) for i, picture in enumerate(pictures)}
        for name, content in (changes or {}).items():
            files[f"{data}/{name}"] = content
        with zipfile.ZipFile(tmp_path / "published.zip", "w") as archive:
            for name, content in files.items():
                if content is not None:
                    archive.writestr(name, content)
        monkeypatch.setattr(easy_vqa, "URL", (tmp_path / "published.zip").as_uri())
        return str(tmp_path / "root")

    return publish


def test_a_sample_is_the_picture_and_then_the_question(packed, pixels):
    source = EasyVQA(data_root=packed())
    assert source.labels == ("circle", "no", "yes")
    raw = source.split("train")[1]
    assert raw.id == "easy_vqa/train/2"
    assert list(raw.contents) == ["vision", "text"]
    assert torch.equal(raw.contents["vision"], torch.from_numpy(pixels["train"][1]).permute(2, 0, 1))
    assert (raw.contents["text"], raw.answer, int(raw.targets["label"])) == ("is it blue?", {"text": "no"}, 1)


def test_questions_about_every_tenth_training_picture_validate(packed):
    source = EasyVQA(data_root=packed())
    ids = {name: [raw.id for raw in source.split(name)] for name in ("train", "val", "test")}
    assert ids == {
        "train": ["easy_vqa/train/1", "easy_vqa/train/2"],
        "val": ["easy_vqa/val/0", "easy_vqa/val/3"],
        "test": ["easy_vqa/test/0"],
    }


def test_the_original_is_fetched_when_asked_and_gives_the_same_samples(packed, published, tmp_path, listed):
    root = published()
    with pytest.raises(FileNotFoundError, match=r"questions\.json\.gz.*easy-VQA.*download=true"):
        EasyVQA(data_root=root).split("train")
    fetched, ours = EasyVQA(data_root=root, download=True), EasyVQA(data_root=packed())
    assert listed(fetched) == listed(ours)
    assert fetched.labels == ours.labels
    (tmp_path / "published.zip").unlink()
    assert len(EasyVQA(data_root=root).split("test")) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["", "no", 0], r"question 1 is \['', 'no', 0\]"),
        (["is it?", "no", 11], "question 1 is .* the picture from 0 to 10"),
        (["is it?", "no", -1], "question 1 is .* the picture from 0 to 10"),
        (["is it?", "maybe", 0], "question 1 has the answer 'maybe'; known: circle, no, yes"),
        (["is it?", "no"], "question 1 is"),
    ],
)
def test_a_wrong_question_is_told_by_its_number(packed, entry, message):
    questions = QUESTIONS | {"train": [QUESTIONS["train"][0], entry]}
    with pytest.raises(ValueError, match=rf"questions\.json\.gz, train: {message}"):
        EasyVQA(data_root=packed(questions)).split("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train/images/3.png": b"no picture"}, r"train/images/3\.png'.*cannot be read as an image"),
        ({"train/images/3.png": png(np.zeros((8, 8, 3), dtype=np.uint8))}, r"3\.png' is uint8 .1, 3, 8, 8."),
        ({"test/images/0.png": None}, r"has no file '.*test/images/0\.png'"),
        ({"train/images/10.png": None}, "question 3 is .* the picture from 0 to 9"),
        ({"answers.txt": None}, r"has no file '.*answers\.txt'"),
        ({"test/questions.json": "["}, r"test/questions\.json is not JSON"),
    ],
)
def test_a_wrong_archive_is_told_by_file(published, changes, message):
    with pytest.raises(ValueError, match=rf"easy-VQA-{COMMIT}\.zip.*{message}"):
        EasyVQA(data_root=published(changes), download=True).split("train")


def test_wrong_pictures_or_answers_are_told(packed, pixels, tmp_path):
    root = packed(answers=[])
    with pytest.raises(ValueError, match=r"questions\.json\.gz: the answers are \[\]"):
        EasyVQA(data_root=root).split("train")
    np.savez(tmp_path / "packed/easy_vqa/images.npz", x_train=pixels["train"][..., 0], x_test=pixels["test"])
    with pytest.raises(ValueError, match=r"images\.npz, array 'x_train' is uint8 .11, 64, 64."):
        EasyVQA(data_root=root).split("train")
    (tmp_path / "packed/easy_vqa/images.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"images\.npz' beside"):
        EasyVQA(data_root=root).split("train")


def test_the_baseline_guesses_from_the_question_alone(packed):
    questions = {
        "train": [["is it red?", answer, 1] for answer in ("yes", "no", "no")],
        "test": [["is it red?", "no", 0], ["is it red?", "yes", 0], ["is it red?", "no", 1], ["is it new?", "no", 1]],
    }
    assert EasyVQA(data_root=packed(questions)).baselines() == {"question_alone_accuracy": 0.5}


def test_a_split_pickles_for_data_workers(packed):
    split = pickle.loads(pickle.dumps(EasyVQA(data_root=packed()).split("val")))
    assert [raw.answer["text"] for raw in split] == ["circle", "yes"]


@pytest.mark.slow
def test_the_real_set_has_the_published_counts_and_shares_no_picture(shared_data):
    source = EasyVQA(data_root=str(shared_data))
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [34_676, 3_899, 9_673]
    assert source.facts == {"n_classes": 13}
    pointers = [{raw.contents["vision"].data_ptr() for raw in source.split(name)} for name in ("train", "val", "test")]
    assert [len(each) for each in pointers] == [3_600, 400, 1_000]
    assert not pointers[0] & pointers[1]
    assert source.baselines() == {"question_alone_accuracy": pytest.approx(0.668, abs=0.001)}
