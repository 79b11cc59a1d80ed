import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import wavfile
from torch import tensor

from omniformer.data import StreamedTable
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


@pytest.mark.parametrize("name", ["films.parquet", "films.arrow"])
def test_what_the_library_wrote_into_a_table_names_its_classes(tmp_path, name):
    tag = {"names": ["O", "PER"], "_type": "ClassLabel"}
    told = {"info": {"features": {**FEATURES, "tags": {"feature": tag, "_type": "List"}}}}
    table = pa.table({"text": ["Ada saw"] * 9, "label": [0, 1, 1] * 3, "tags": [[1, 0]] * 9})

    def read(metadata):
        made = table.replace_schema_metadata({"huggingface": metadata})
        if name.endswith("parquet"):
            pq.write_table(made, tmp_path / name)
        else:
            with pa.ipc.new_file(tmp_path / name, made.schema) as file:
                file.write_table(made)
        columns = {"text": "text", "label": "label"}, {"text": "text", "tags": "token_labels"}
        return [Table(files=str(tmp_path / name), columns=each).labels for each in columns]

    assert read(json.dumps(told)) == [("neg", "pos"), ("O", "PER")]
    assert read("no JSON") == read("[1]") == [("0", "1"), ("0", "1")]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Pictures, sounds, classes and lists as the library writes them: with and without splits, and as Parquet."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("written")
    pictures, sounds = ([io.BytesIO() for _ in range(20)] for _ in range(2))
    for i, (picture, sound) in enumerate(zip(pictures, sounds, strict=True)):
        Image.new("RGB", (4, 4), (10 * i, 0, 0)).save(picture, format="png")
        wavfile.write(sound, 8000, tensor([i, -i] * 40).short().numpy())
    rows = [
        {
            "photo": {"bytes": picture.getvalue(), "path": None},
            "sound": {"bytes": sound.getvalue(), "path": f"{i}.wav"},
            "kind": i % 2,
            "words": ["Ada", "saw", str(i)],
            "tags": [2, 1, 0],
            "topics": ["a", "b"][: 1 + i % 2],
        }
        for i, (picture, sound) in enumerate(zip(pictures, sounds, strict=True))
    ]
    features = {
        "photo": datasets.Image(),
        "sound": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        "kind": datasets.ClassLabel(names=["low", "high"]),
        "words": datasets.Sequence(datasets.Value("string")),
        "tags": datasets.Sequence(datasets.ClassLabel(names=["O", "SAY", "PER"])),
        "topics": datasets.Sequence(datasets.Value("string")),
    }
    made = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    made = made.cast_column("sound", datasets.Audio(sampling_rate=8000))  # to encode sounds would take torchcodec
    parts = datasets.DatasetDict({"train": made.select(range(12)), "validation": made.select(range(12, 20))})
    made.save_to_disk(folder / "whole")
    parts.save_to_disk(folder / "parts")
    (folder / "parquet").mkdir()
    for name, part in parts.items():
        part.to_parquet(folder / "parquet" / f"{name}.parquet")
    return folder


def contents(raw):
    """What a sample holds, the same of bytes and of files."""
    return [
        bytes(each["bytes"]) if isinstance(each, dict) else each.split() if isinstance(each, str) else each
        for each in raw.contents.values()
    ]


@pytest.mark.parametrize(
    ("columns", "labels"),
    [
        ({"photo": "vision", "sound": "audio", "kind": "label"}, ("low", "high")),
        ({"words": "text", "tags": "token_labels"}, ("O", "SAY", "PER")),
        ({"words": "text", "topics": "labels"}, ("a", "b")),
    ],
    ids=["classes", "classes of words", "several classes"],
)
def test_features_of_the_library_are_the_same_whole_and_streamed_in_each_form(written, columns, labels, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(written / "cache"))
    named = {"labels": list(labels)} if "topics" in columns else {}
    whole = Table(files=f"hf:{written}/whole", columns=columns, shares=(1, 0, 0))
    assert whole.labels == labels
    expected = [(contents(raw), {**raw.targets}, raw.marks) for raw in whole.split("train")]
    parts = Table(files=f"hf:{written}/parts", columns=columns, **named)
    files = {"train": f"{written}/parquet/train.parquet", "val": f"{written}/parquet/validation.parquet"}
    parquet = Table(**files, columns=columns, **named)
    streamed = [
        StreamedTable(train=f"hf:{written}/{name}", columns=columns, samples_per_epoch=12, **named)
        for name in ("parts", "parquet", "whole")
    ]
    for source in (parts, parquet, *streamed):
        assert source.labels == labels
        raws = [*(source.split("train")[i] for i in range(12)), *source.split("val")]
        found = [(contents(raw), {**raw.targets}, raw.marks) for raw in raws]
        assert len(found) == (12 if source is streamed[-1] else 20)
        assert str(found) == str(expected[: len(found)])
