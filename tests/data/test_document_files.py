import gzip
import json
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omniformer.data.document_files import Division, DocumentFile
from omniformer.data.source import SPLITS
from omniformer.data.text_files import TextFiles

TEXT = "\ufeffone\r\ntwo\u2028still two\r\n\r\n\r\nthree\n  \nfour\n\n"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("unit", ["file", "paragraph", "line"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_documents_of_text_are_those_of_text_files(tmp_path, unit, name):
    content = TEXT.encode()
    write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    source = TextFiles(train=str(tmp_path / name), document=unit, val_share=0, test_share=0)
    expected = [raw.contents["text"] for raw in source.split("train")]
    assert list(DocumentFile(path=tmp_path / name, unit=unit)()) == expected


def rows(path, texts):
    """The same texts in each format."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"n": range(len(texts)), "said": texts}), path)
    elif path.suffix == ".csv":
        write(path, "n,said\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts)))
    else:
        lines = "\n\n".join(json.dumps({"n": i, "said": text}) for i, text in enumerate(texts))
        write(path, gzip.compress(lines.encode()) if path.suffix == ".gz" else lines)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson", "a.csv", "a.parquet"])
def test_a_column_of_any_table_holds_documents_and_empty_ones_are_passed_over(tmp_path, name):
    path = rows(tmp_path / name, ["one", "", "two, and\nthree", " "])
    assert list(DocumentFile(path=path, text_key="said")()) == ["one", "two, and\nthree"]


def test_lines_of_a_table_that_are_no_rows_are_named_or_passed_over(tmp_path):
    path = write(tmp_path / "a.csv", 'n,text\n1,one\n2,"two\n3,three\n')
    with pytest.raises(ValueError, match=r"a\.csv, line 3: a double quote opens .*; --on-error skip passes over it"):
        list(DocumentFile(path=path)())
    found = list(DocumentFile(path=path, skip=True).each())
    assert [each for each in found if isinstance(each, str)] == ["one"] and len(found) == 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("no json", r"a\.jsonl, line 2: not JSON"),
        ("[1]", r"a\.jsonl, line 2: expected an object, received list"),
        ('{"text": 3}', r"a\.jsonl, line 2: expected a text 'text', received the keys \['text'\]"),
    ],
)
def test_a_broken_line_is_named_or_passed_over(tmp_path, line, told):
    path = write(tmp_path / "a.jsonl", f'{{"text": "one"}}\n{line}\n{{"text": "two"}}\n')
    with pytest.raises(ValueError, match=told + ".*; --on-error skip passes over it"):
        list(DocumentFile(path=path)())
    assert list(DocumentFile(path=path, skip=True)()) == ["one", "two"]
    assert [type(each).__name__ for each in DocumentFile(path=path, skip=True).each()] == ["str", "BadRowError", "str"]


def test_a_column_that_is_not_there_lists_those_that_are(tmp_path):
    with pytest.raises(ValueError, match=r"has no column 'text', but n, said; name that of the texts with --text-key"):
        list(DocumentFile(path=rows(tmp_path / "a.csv", ["one"]))())


def test_what_is_not_utf8_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt cannot be read as UTF-8 text"):
        list(DocumentFile(path=write(tmp_path / "a.txt", b"\xff\xfe"), unit="line")())


def test_every_document_is_in_one_split_wherever_and_in_whatever_order_it_lies(tmp_path):
    texts = [f"text {i}" for i in range(400)]
    division = Division(val=0.1, test=0.2)
    found = {}
    for name, ordered in (("a.txt", texts), ("b.txt", [*reversed(texts), texts[0]])):
        path = write(tmp_path / name, "\n".join(ordered))
        found[name] = {
            split: list(DocumentFile(path=path, unit="line", division=division, split=split)()) for split in SPLITS
        }
    assert sorted(chain.from_iterable(found["a.txt"].values())) == sorted(texts)
    assert all(set(found["a.txt"][split]) == set(found["b.txt"][split]) for split in SPLITS)
    assert 20 < len(found["a.txt"]["val"]) < 60 < len(found["a.txt"]["test"]) < 110


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match=r"val=0\.6 and test=0\.4 must be 0 or more and leave something for training"):
        Division(val=0.6, test=0.4)
