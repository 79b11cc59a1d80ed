import json
import pickle
import sys

import pyarrow as pa
import pytest

from omniformer.data.table.row_streams import HubStream, hub_stream


class Set:
    """As `datasets` streams it."""

    def __init__(self, n, start=0):
        self.n, self.start = n, start

    def __iter__(self):
        return iter([{"n": number} for number in range(self.start, self.n)])

    def skip(self, n):
        return Set(self.n, min(self.start + n, self.n))


def numbers(stream, wanted):
    return [stream.row(number)[0]["n"] for number in wanted]


@pytest.mark.parametrize(
    "wanted", [range(25), [3, 1, 2, 0, 7, 4, 6, 5, 11, 8, 10, 9], [23, 21, 22], [9, 0, 1, 40, 2]], ids=str
)
def test_rows_come_by_number_pass_after_pass_in_whatever_order_they_are_asked_for(wanted):
    assert numbers(HubStream(Set(7), "seven", window=4), wanted) == [number % 7 for number in wanted]


def test_only_the_rows_of_two_windows_are_kept():
    stream = HubStream(Set(1000), "many", window=10)
    numbers(stream, range(500))
    assert len(stream._kept) <= 21


def test_a_stream_pickles_and_reads_on_by_itself():
    stream = HubStream(Set(7), "seven", window=4)
    numbers(stream, range(3))
    assert numbers(pickle.loads(pickle.dumps(stream)), range(3, 9)) == [3, 4, 5, 6, 0, 1]


def test_an_empty_set_is_told():
    with pytest.raises(ValueError, match="none: there are no rows"):
        HubStream(Set(0), "none", window=4)


def test_a_folder_of_data_files_is_streamed_by_the_library(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for split, n in (("train", 5), ("validation", 2)):
        (tmp_path / "set").mkdir(exist_ok=True)
        rows = "".join(json.dumps({"n": number, "word": split}) + "\n" for number in range(n))
        (tmp_path / "set" / f"{split}.jsonl").write_text(rows)
    given = {"config": None, "download": False, "window": 2}
    stream = hub_stream(str(tmp_path / "set"), "train", **given)
    assert numbers(stream, [0, 1, 4, 3, 5, 6]) == [0, 1, 4, 3, 0, 1]
    assert stream.row(6)[1].endswith("set, train, row 2")
    val = hub_stream(str(tmp_path / "set"), "val", **given)
    assert val.row(0)[0] == {"n": 0, "word": "validation"}
    assert hub_stream(str(tmp_path / "set"), "test", **given) is None


def test_a_set_that_is_not_there_is_not_fetched_unasked():
    with pytest.raises(FileNotFoundError, match="is read from the hub with download=true"):
        hub_stream("nobody/nothing", "train", config=None, download=False, window=1)


def test_a_folder_of_save_to_disk_is_streamed_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    features = {"n": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    given = {"config": None, "download": False, "window": 2}
    for split, n in (("train", 3), ("test", 1)):
        (folder := tmp_path / "set" / split).mkdir(parents=True)
        table = pa.table({"n": list(range(n))})
        for part in range(2):
            with pa.ipc.new_stream(folder / f"data-0000{part}-of-00002.arrow", table.schema) as stream:
                stream.write_table(table)
        (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    stream = hub_stream(str(tmp_path / "set"), "train", **given)
    assert numbers(stream, range(8)) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert stream.class_names("n") == ("no", "yes") and stream.row(4)[1] == "data-00001-of-00002.arrow, row 2"
    assert numbers(pickle.loads(pickle.dumps(stream)), [4, 5]) == [1, 2]
    assert numbers(hub_stream(str(tmp_path / "set"), "test", **given), range(2)) == [0, 0]
    assert hub_stream(str(tmp_path / "set"), "val", **given) is None
    alone = str(tmp_path / "set" / "train")  # without splits: training
    assert numbers(hub_stream(alone, "train", **given), [3]) == [0] and hub_stream(alone, "val", **given) is None
