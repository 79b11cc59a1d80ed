import pickle

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from omniformer.data.table.columnar import ArrowRows, MappedRows, ParquetRows

ROWS = [{"n": i, "text": f"t{i}", "picture": {"bytes": b"x" * i, "path": None}} for i in range(10)]
TABLE = pa.Table.from_pylist(ROWS)


def written(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(TABLE, path, row_group_size=3)
        return ParquetRows(path)
    if kind == "feather":
        feather.write_feather(TABLE, path)
    elif kind == "arrow":
        with pa.ipc.new_stream(path, TABLE.schema) as stream:
            stream.write_table(TABLE)
    return MappedRows(path)


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow"])
def test_rows_and_columns_of_a_file_are_those_that_were_written(tmp_path, kind):
    table = written(tmp_path, kind)
    assert len(table) == 10 and table.columns == ("n", "text", "picture")
    assert [table.row(i) for i in (9, 0, 4)] == [ROWS[9], ROWS[0], ROWS[4]]
    assert [*table.each(["n"])] == [{"n": row["n"]} for row in ROWS]
    assert [*table.each([])] == [{}] * 10
    assert table.heavy() == {"picture"}
    assert pickle.loads(pickle.dumps(table)).row(7) == ROWS[7]


def test_a_table_in_memory_names_its_classes():
    table = ArrowRows(TABLE, "here", {"n": ("zero", "one")})
    assert table.class_names("n") == ("zero", "one") and table.class_names("text") == ()
    assert table.row(3) == ROWS[3]


def test_row_groups_are_read_when_they_are_asked_for_and_few_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(ParquetRows, "kept_bytes", 1)
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=3)
    table = ParquetRows(tmp_path / "a.parquet")
    assert not table._groups
    assert [table.row(i)["n"] for i in (0, 5, 9, 1)] == [0, 5, 9, 1]
    assert len(table._groups) == 1


@pytest.mark.parametrize(("kind", "reader"), [("parquet", ParquetRows), ("arrow", MappedRows)])
def test_what_is_no_such_file_is_named(tmp_path, kind, reader):
    (tmp_path / f"a.{kind}").write_bytes(b"no table at all, in the form of some text")
    with pytest.raises(ValueError, match=rf"a\.{kind} cannot be read as"):
        reader(tmp_path / f"a.{kind}")


@pytest.mark.parametrize(("suffix", "reader"), [("parquet", ParquetRows), ("arrow", MappedRows)])
def test_a_small_file_of_very_many_equal_rows_is_refused(tmp_path, suffix, reader, monkeypatch):
    monkeypatch.setattr("omniformer.data.sets.reading.FREE_TEXT_BYTES", 1_000_000)
    file, n = tmp_path / f"a.{suffix}", 5_000
    table = pa.table({"text": pa.array(["x" * 4000]).take(pa.array([0] * n))})
    if suffix == "parquet":
        pq.write_table(table, file, row_group_size=n)
    else:
        feather.write_feather(table, file, compression="zstd")
    with pytest.raises(ValueError, match=rf"a\.{suffix}.* bytes or more out of .* at most 100 a byte are accepted"):
        reader(file).row(0)
