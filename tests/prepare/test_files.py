"""What a path is, by what lies there."""

import pytest

from omniformer.prepare.files import files_of


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a\n1\n")
    return folder


def names(found):
    return {
        key: [each.rpartition("/")[2] for each in ([value] if isinstance(value, str) else value)]
        for key, value in found.items()
    }


def test_a_table_and_a_folder_of_tables(tmp_path):
    assert names(files_of(made(tmp_path, "x.csv") / "x.csv")) == {"files": ["x.csv"]}
    assert names(files_of(made(tmp_path / "parts", "b.jsonl", "a.jsonl"))) == {"files": ["a.jsonl", "b.jsonl"]}


def test_files_named_after_splits_are_these_splits(tmp_path):
    found = files_of(made(tmp_path, "train-00001.csv", "train-00000.csv", "validation.csv", "test.csv"))
    assert names(found) == {
        "train": ["train-00000.csv", "train-00001.csv"],
        "val": ["validation.csv"],
        "test": ["test.csv"],
    }


def test_a_copy_of_a_set_of_the_hub_has_its_tables_in_a_folder(tmp_path):
    made(tmp_path, "README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet")
    found = files_of(made(tmp_path, "data/validation-00000-of-00001.parquet"))
    train = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert names(found) == {"train": train, "val": ["validation-00000-of-00001.parquet"]}


def test_training_alone_is_divided_as_any_table(tmp_path):
    assert names(files_of(made(tmp_path, "train-0.csv", "train-1.csv"))) == {"files": ["train-0.csv", "train-1.csv"]}


def test_a_table_beside_folders_that_may_be_classes_is_taken_with_a_word(tmp_path):
    with pytest.warns(
        UserWarning, match=r"holds list\.csv, which is taken for the table, beside the folders cat, dog;"
    ):
        assert names(files_of(made(tmp_path, "cat/1.png", "dog/1.png", "list.csv"))) == {"files": ["list.csv"]}
    assert names(files_of(made(tmp_path / "one", "photos/1.png", "list.csv"))) == {"files": ["list.csv"]}  # no word


def test_a_saved_set_of_datasets_and_a_folder_of_classes(tmp_path):
    assert str(files_of(made(tmp_path / "saved", "dataset_dict.json"))["files"]).startswith("hf:")
    assert names(files_of(made(tmp_path / "pets", "cat/1.png"))) == {"files": ["pets"]}


def test_files_of_lines_that_belong_together_stand_side_by_side(tmp_path):
    folder = made(tmp_path / "pairs", "train.en.gz", "train.de.gz", "dev.en", "dev.de")
    assert files_of(folder) == {
        "train": [f"lines:{folder}/train.de.gz + lines:{folder}/train.en.gz"],
        "val": [f"lines:{folder}/dev.de + lines:{folder}/dev.en"],
    }
    one = made(tmp_path / "one", "a.en", "a.de")
    assert files_of(one) == {"files": [f"lines:{one}/a.de + lines:{one}/a.en"]}
    lone = made(tmp_path / "lone", "a.en", "a.de", "b.en")  # of which one has no other
    assert files_of(lone) == {"files": str(lone)}


def test_what_no_path_alone_says_is_taken_as_a_table_takes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files_of("lines:a.en + lines:a.de") == {"files": f"lines:{tmp_path}/a.en + lines:{tmp_path}/a.de"}
    assert files_of("sub/a.json::train") == {"files": f"{tmp_path}/sub/a.json::train"}


@pytest.mark.parametrize(
    ("names", "path", "message"),
    [
        ([], "missing", "there is no file or folder"),
        (["x.zip"], "x.zip", "is none of .csv"),
        (["train.csv", "extra.csv"], "", "extra.csv beside files that are named after splits"),
        (["a.csv", "b.jsonl"], "", "tables of several kinds, csv, jsonl"),
    ],
)
def test_what_is_not_understood_is_told(tmp_path, names, path, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        files_of(made(tmp_path, *names) / path)
