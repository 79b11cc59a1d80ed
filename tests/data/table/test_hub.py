import json

import pyarrow as pa
import pytest

from omniformer.data.table import Table
from omniformer.data.table.hub import hub_rows

FEATURES = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}


def saved(folder, rows):
    """A folder as `Dataset.save_to_disk` lays it out, in two files."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    for part in range(2):
        with pa.ipc.new_stream(folder / f"data-0000{part}-of-00002.arrow", table.schema) as stream:
            stream.write_table(table.slice(part * len(rows) // 2, len(rows) // 2))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    (folder / "state.json").write_text("{}")


def rows_of(n):
    return [{"text": f"film {i}", "label": i % 2} for i in range(n)]


def test_a_saved_set_is_read_without_the_library_and_names_its_classes(tmp_path):
    saved(tmp_path / "films", rows_of(40))
    table = Table(files=f"hf:{tmp_path}/films", columns={"text": "text", "label": "label"})
    assert table.labels == ("neg", "pos")
    assert [len(table.split(name)) for name in ("train", "val", "test")] == [32, 4, 4]
    ids = [raw.id for name in ("train", "val", "test") for raw in table.split(name)]
    assert len(set(ids)) == 40 and "data-00000-of-00002.arrow, row 1" in ids
    assert all(int(raw.targets["label"]) == int(raw.contents["text"][5:]) % 2 for raw in table.split("train"))


def test_splits_of_a_saved_set_are_taken_as_they_are(tmp_path):
    saved(tmp_path / "films" / "train", rows_of(20))
    saved(tmp_path / "films" / "validation", rows_of(4))
    (tmp_path / "films" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    table = Table(files=f"hf:{tmp_path}/films", columns={"text": "text", "label": "label"})
    with pytest.warns(UserWarning, match=r"4 row\(s\) of val hold what a row of training holds"):
        train = table.split("train")
    assert [len(train), len(table.split("val")), len(table.split("test"))] == [20, 4, 0]


@pytest.mark.parametrize("name", ["../secret", "/etc", ".."])
def test_a_saved_set_leads_nowhere_else(tmp_path, name):
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(ValueError, match="is not the name of a split"):
        hub_rows(str(tmp_path), config=None, download=False)


def test_a_folder_that_holds_no_set_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.arrow files"):
        hub_rows(str(tmp_path), config=None, download=False)


def test_a_set_by_name_is_not_fetched_unasked():
    with pytest.raises(FileNotFoundError, match="hf:nobody/nothing is fetched from the hub with download=true"):
        hub_rows("nobody/nothing", config=None, download=False)


def test_without_the_library_a_set_by_name_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ImportError, match="is not installed: pip install datasets"):
        hub_rows("nobody/nothing", config=None, download=True)


def test_a_set_that_the_library_loads_has_its_rows(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    made = datasets.Dataset.from_list(rows_of(40), features=features)
    made.save_to_disk(tmp_path / "films")
    columns = {"text": "text", "label": "label"}
    local = Table(files=f"hf:{tmp_path}/films", columns=columns)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: datasets.DatasetDict({"train": made}))
    fetched = Table(files="hf:nobody/films", columns=columns, download=True)
    for name in ("train", "val", "test"):
        first, second = ([raw.contents["text"] for raw in table.split(name)] for table in (local, fetched))
        assert first == second
    assert fetched.labels == local.labels == ("neg", "pos")
