import os
import warnings

import pytest
from PIL import Image

from omniformer.data.table import Table, index
from omniformer.data.table.delimited import DelimitedRows
from omniformer.data.table.json_lines import JsonRows
from omniformer.data.table.scan import Scan

COLUMNS = {"text": "text", "kind": "label", "score": "value", "who": "group", "name": "id"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "LEAST", 0)
    monkeypatch.setenv("OMNIFORMER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tables"


@pytest.fixture
def never_look(monkeypatch):
    def look(*_):
        raise AssertionError("looked at again")

    def forbid():
        for of, name in ((Scan, "run"), (DelimitedRows, "_divide"), (JsonRows, "_find")):
            monkeypatch.setattr(of, name, look)

    return forbid


def _rows(n=40):
    return [f"text {i},{'ab'[i % 2]},{i},who {i // 2},n{i}" for i in range(n)]


def _csv(folder, rows=None):
    (file := folder / "a.csv").write_text("\n".join([",".join(COLUMNS), *(rows or _rows())]) + "\n")
    return str(file)


def _all_of(table):
    samples = {
        name: [(raw.id, raw.contents, {**raw.targets}) for raw in table.split(name)] for name in ("train", "val")
    }
    return samples, table.labels, table.facts, table.baselines(), table.kin("test")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_second_run_finds_the_same_without_a_look(tmp_path, never_look, suffix):
    file = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        _csv(tmp_path)
    else:
        file.write_text(
            "\n".join(
                f'{{"text": "t{i}", "kind": {i % 2}, "score": {i}, "who": "{i // 2}", "name": {i}}}' for i in range(40)
            )
        )
    first = _all_of(Table(files=str(file), columns=COLUMNS))
    never_look()
    assert repr(_all_of(Table(files=str(file), columns=COLUMNS))) == repr(first)


def test_lists_of_classes_and_counts_of_what_is_missing_are_kept(tmp_path, never_look):
    (file := tmp_path / "a.jsonl").write_text(
        '{"words": ["Ada", "saw"], "tags": ["PER", "O"]}\n{"words": ["we", "saw"], "tags": null}\n'
    )
    given = {"files": str(file), "columns": {"words": "text", "tags": "token_labels"}, "shares": [1, 0, 0]}
    first = Table(**given)
    shown = [raw.marks["text"].words for raw in first.split("train")]
    never_look()
    again = Table(**given)
    assert [raw.marks["text"].words for raw in again.split("train")] == shown and again.labels == ("O", "PER")
    assert again._looked.missing == {"token_labels": 1}


def test_a_file_that_has_changed_is_looked_at_anew_even_if_its_size_and_time_have_not(tmp_path):
    file = _csv(tmp_path)
    stat = os.stat(file)
    before = Table(files=file, columns=COLUMNS).labels
    _csv(tmp_path, [row.replace(",b,", ",c,") for row in _rows()])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (before, Table(files=file, columns=COLUMNS).labels) == (("a", "b"), ("a", "c"))


def test_other_settings_have_an_index_of_their_own(tmp_path, cache):
    sizes = {}
    for shares in ((0.5, 0.25, 0.25), (0.8, 0.1, 0.1)) * 2:
        table = Table(files=_csv(tmp_path), columns=COLUMNS, shares=shares)
        sizes.setdefault(str(shares), []).append([len(table.split(name)) for name in ("train", "val", "test")])
    assert all(first == again for first, again in sizes.values()) and len({str(each) for each in sizes.values()}) == 2
    assert len([*cache.iterdir()]) == 3  # two looks, and one of where rows lie


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "of another form"])
def test_a_damaged_index_is_told_and_made_anew(tmp_path, cache, damage):
    first = _all_of(Table(files=_csv(tmp_path), columns=COLUMNS))
    for file in cache.iterdir():
        content = file.read_bytes()
        middle = len(content) // 2
        file.write_bytes(
            {
                "cut": content[:middle],
                "changed": content[:middle]
                + bytes(byte ^ 255 for byte in content[middle : middle + 400])
                + content[middle + 400 :],
                "empty": b"",
                "of another form": b"PK\x05\x06" + bytes(18),
            }[damage]
        )
    with pytest.warns(UserWarning, match="is damaged, so that .* are looked at anew"):
        assert repr(_all_of(Table(files=_csv(tmp_path), columns=COLUMNS))) == repr(first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Table(files=_csv(tmp_path), columns=COLUMNS).split("train")


def test_a_cache_that_cannot_be_written_is_told_and_nothing_is_lost(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file in the place of the folder")
    with pytest.warns(UserWarning, match="cannot be kept for the next run"):
        assert len(Table(files=_csv(tmp_path), columns=COLUMNS).split("train")) == 32


def test_whether_files_that_cells_name_are_there_is_seen_in_every_run(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "0.png")
    (tmp_path / "a.csv").write_text("photo\n0.png\n")
    given = {"files": str(tmp_path / "a.csv"), "columns": {"photo": "vision"}, "shares": [1, 0, 0]}
    assert len(Table(**given).split("train")) == 1
    (tmp_path / "0.png").unlink()
    with pytest.raises(ValueError, match=r"there is no file '0\.png'"):
        Table(**given).split("train")


def test_rows_that_cannot_be_read_are_told_in_every_run(tmp_path):
    file = _csv(tmp_path, [*_rows(), "one cell"])
    for _ in range(2):
        table = Table(files=file, columns=COLUMNS)
        table.on_error = "skip"
        assert len(table.split("train")) == 32
        assert len(table.broken) == 1 and "line 42: has 1 cells for 5 columns" in table.broken[0]
        with pytest.raises(ValueError, match="1 problem"):
            Table(files=file, columns=COLUMNS).split("train")


def test_small_files_leave_nothing_behind(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(index, "LEAST", 16_000_000)
    Table(files=_csv(tmp_path), columns=COLUMNS).split("train")
    assert not cache.exists()


def test_only_the_indexes_used_last_stay(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(index, "_KEPT", 2)
    (file := tmp_path / "a").write_text("a")
    for number in range(4):
        index.Index("rows", [file], {"number": number}).save({"number": number})
        for time, each in enumerate(sorted(cache.iterdir(), key=lambda each: each.stat().st_mtime_ns)):
            os.utime(each, (time, time))
    kept = [index.Index("rows", [file], {"number": number}).load() for number in range(4)]
    assert kept == [None, None, {"number": 2}, {"number": 3}]
