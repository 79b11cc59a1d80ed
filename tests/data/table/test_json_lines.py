import gzip
import pickle

import pytest

from omniformer.data.table.json_lines import JsonRows
from omniformer.data.table.rows import BadRowError


def rows(path, content):
    path.write_bytes(content)
    return JsonRows(path)


def test_lines_are_rows_and_empty_ones_are_not(tmp_path):
    table = rows(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a": 1}\n\n{"b": [1, 2]}\r\n{"a": "\xe2\x80\xa8"}')
    assert [table.row(i) for i in range(len(table))] == [{"a": 1}, {"b": [1, 2]}, {"a": "\u2028"}]
    assert table.columns == ("a", "b")
    assert [table.place(i) for i in range(3)] == ["line 1", "line 3", "line 4"]
    assert pickle.loads(pickle.dumps(table)).row(1) == {"b": [1, 2]}


def test_packed_lines_are_read(tmp_path):
    table = rows(tmp_path / "a.jsonl.gz", gzip.compress(b'{"a": 1}\n'))
    assert [*table.each(["a"])] == [{"a": 1}]
    assert pickle.loads(pickle.dumps(table)).row(0) == {"a": 1}


def test_a_line_that_is_no_object_is_named_and_the_others_are_read(tmp_path):
    table = rows(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": \n[1]\n{"a": 2}\n')
    found = [*table.each(["a"])]
    assert found[0] == {"a": 1} and found[3] == {"a": 2}
    assert isinstance(found[1], BadRowError) and "a.jsonl, line 2: not JSON" in str(found[1])
    assert "a.jsonl, line 3: expected an object, received list" in str(found[2])
    assert table.columns == ("a",)


def test_an_empty_file_has_no_rows_and_what_is_not_text_is_named(tmp_path):
    assert len(rows(tmp_path / "a.jsonl", b"")) == 0
    with pytest.raises(BadRowError, match=r"a\.jsonl, line 1: not UTF-8; .*iconv"):
        rows(tmp_path / "a.jsonl", b'{"a": "\xff"}').row(0)
