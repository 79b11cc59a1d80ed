"""Rows that hold the same, exactly or but for what does not count."""

import torch
from PIL import Image

from omniformer.data.source import Raw
from omniformer.prepare.leaks import leaks


def text(name, content, label=0):
    return Raw(id=name, contents={"text": content}, targets={"label": torch.tensor(label)})


def test_texts_are_the_same_without_case_marks_and_blanks():
    found = leaks(
        {
            "train": [text("a", "A cat, here!"), text("b", "dog")],
            "val": [text("c", "cat")],
            "test": [text("d", "a  CAT here")],
        }
    )
    assert found["val"]["rows"] == 0
    assert found["test"] == {"rows": 1, "such_as": [["d", "a"]]}
    assert found["how"] == {"text": "without case, marks and blanks"}


def test_texts_of_marks_alone_are_compared_as_they_are():
    assert leaks({"train": [text("a", ":)"), text("b", ":(")], "val": [], "test": []})["repeated"] == 0


def test_equal_rows_with_another_target_are_told_apart():
    found = leaks({"train": [text("a", "fine"), text("b", "Fine", 1), text("c", "FINE")], "val": [], "test": []})
    assert found["repeated"] == 2
    assert found["contradicting"] == {"rows": 1, "such_as": [["b", "a"]]}


def test_pictures_are_the_same_in_another_size_and_format(tmp_path):
    wave = torch.outer(torch.arange(64) % 17, torch.arange(64) % 13).float()
    picture = Image.fromarray((wave / wave.max() * 255).byte().numpy())
    smooth = picture.resize((32, 32), Image.Resampling.BILINEAR).resize((256, 256), Image.Resampling.BILINEAR)
    smooth.save(tmp_path / "a.png")
    smooth.save(tmp_path / "b.bmp")
    picture.rotate(90).save(tmp_path / "c.png")
    made = {name: Raw(id=name, contents={"vision": tmp_path / name}) for name in ("a.png", "b.bmp", "c.png")}
    found = leaks({"train": [made["a.png"]], "val": [made["b.bmp"]], "test": [made["c.png"]]})
    assert (found["val"]["rows"], found["test"]["rows"]) == (1, 0)


def test_files_that_cannot_be_read_are_no_copies_of_each_other(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    found = leaks(
        {
            "train": [Raw(id=name, contents={"vision": tmp_path / name}) for name in ("a.png", "b.png")],
            "val": [],
            "test": [],
        }
    )
    assert found["repeated"] == 0
    assert [each.partition(": ")[0] for each in found["unreadable"]] == ["a.png", "b.png"]
