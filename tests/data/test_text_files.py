import gzip
import json
import shutil

import pytest

from omniformer.data import SampleError, Stream
from omniformer.data.text_files import TextFiles

SPLITS = ("train", "val", "test")


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def lines(path, rows):
    return write(path, "\n".join(json.dumps(row) for row in rows) + "\n")


def texts(source, split):
    return [raw.contents["text"] for raw in source.split(split)]


def test_files_of_a_pattern_are_documents_in_order(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / f"{name}.txt", f"text {name}")
    source = TextFiles(train="*.txt", data_root=str(tmp_path), val_share=0, test_share=0)
    assert texts(source, "train") == ["text a", "text b"]
    assert source.labels == ()
    assert dict(source.facts) == {}


@pytest.mark.parametrize(
    ("document", "expected"),
    [("file", ["one\ntwo\n\n\nthree\n"]), ("paragraph", ["one\ntwo", "three"]), ("line", ["one", "two", "three"])],
)
def test_a_document_is_a_file_a_paragraph_or_a_line(tmp_path, document, expected):
    path = write(tmp_path / "a.txt", "one\ntwo\n\n\nthree\n")
    assert texts(TextFiles(train=path, document=document, val_share=0, test_share=0), "train") == expected


def test_without_files_of_their_own_val_and_test_take_a_share(tmp_path):
    path = write(tmp_path / "a.txt", "\n".join(f"line {i}" for i in range(100)))
    source = TextFiles(train=path, document="line", val_share=0.1, test_share=0.2)
    assert [len(source.split(split)) for split in SPLITS] == [70, 10, 20]
    assert sorted(t for split in SPLITS for t in texts(source, split)) == sorted(f"line {i}" for i in range(100))


def test_given_files_are_kept_and_only_the_missing_split_takes_a_share(tmp_path):
    train = write(tmp_path / "a.txt", "\n".join(f"line {i}" for i in range(100)))
    test = write(tmp_path / "b.txt", "held out\n")
    source = TextFiles(train=train, test=test, document="line")
    assert [len(source.split(split)) for split in SPLITS] == [90, 10, 1]
    assert texts(source, "test") == ["held out"]


def test_json_lines_give_texts_labels_and_values(tmp_path):
    rows = [{"body": f"t{i}", "mood": ["good", "bad"][i % 2], "score": i / 2} for i in range(4)]
    path = lines(tmp_path / "a.jsonl", rows)
    source = TextFiles(train=path, text_key="body", label_key="mood", value_key="score", val_share=0, test_share=0)
    raws = source.split("train")
    assert source.labels == ("bad", "good")
    assert dict(source.facts) == {"n_classes": 2}
    assert [(int(r.targets["label"]), float(r.targets["value"])) for r in raws] == [(1, 0), (0, 0.5), (1, 1), (0, 1.5)]


def test_compressed_files_are_read(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("grüß Gott".encode()))
    assert texts(TextFiles(train=str(tmp_path / "a.txt.gz"), val_share=0, test_share=0), "train") == ["grüß Gott"]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", b"\xff\xfe\xfa", {}, r"a\.txt cannot be read as UTF-8 text"),
        ("a.txt.gz", b"not gzip", {}, r"a\.txt\.gz cannot be read"),
        ("a.md", b"x", {}, r"a\.md is not one of \.txt, \.jsonl"),
        ("a.jsonl", b'{"text": "x"}\n{"text"', {}, r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"txt": "x"}', {}, r"line 1: no field 'text'; found \['txt'\]"),
        ("a.jsonl", b'{"text": 3}', {}, "line 1: 'text' is 3; expected a string"),
        ("a.jsonl", b'{"text": "x"}', {"label_key": "y"}, "line 1: no field 'y'"),
        ("a.jsonl", b'{"text": "x", "y": "high"}', {"value_key": "y"}, "line 1: 'y' is 'high'; expected a number"),
        ("a.txt", b"x", {"label_key": "y"}, "label_key and value_key need JSON lines"),
        ("a.txt", b"x", {"document": "page"}, "document='page' is not known"),
        ("a.txt", b"x", {"test_share": 0.1}, r"1 training document\(s\) cannot be split"),
    ],
)
def test_texts_that_are_not_understood_are_refused_with_their_place(tmp_path, name, content, options, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        TextFiles(train=str(tmp_path / name), **{"val_share": 0, "test_share": 0} | options).split("train")


def test_a_pattern_without_files_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.txt"):
        TextFiles(train="*.txt", data_root=str(tmp_path))


def test_a_class_that_training_does_not_know_is_named(tmp_path):
    train = lines(tmp_path / "a.jsonl", [{"text": "x", "label": "a"}])
    test = lines(tmp_path / "b.jsonl", [{"text": "x", "label": "z"}])
    source = TextFiles(train=train, test=test, label_key="label", val_share=0)
    with pytest.raises(ValueError, match=r"b\.jsonl, line 1: class 'z' has no training text; known: a"):
        source.split("test")


def ids(source):
    return {split: [raw.id for raw in source.split(split)] for split in SPLITS}


@pytest.mark.parametrize("document", ["file", "paragraph", "line"])
def test_ids_and_splits_do_not_depend_on_where_the_files_lie(tmp_path, document):
    here, there = tmp_path / "here", tmp_path / "a" / "longer" / "way"
    for name in ("one/a.txt", "two/a.txt", "two/b.txt", *(f"more/{i}.txt" for i in range(10))):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        write(here / name, "\n\n".join(f"{name} {i}" for i in range(10)))
    shutil.copytree(here, there)
    found, again = (ids(TextFiles(train=str(root / "**/*.txt"), document=document)) for root in (here, there))
    assert found == again
    assert len({name for names in found.values() for name in names}) == 13 * (1 if document == "file" else 10)


def test_the_ids_are_the_names_of_the_files_with_the_places_in_them(tmp_path):
    path = write(tmp_path / "a.txt", "x\n\ny\n")
    source = TextFiles(train=path, document="line", val_share=0, test_share=0)
    assert [raw.id for raw in source.split("train")] == ["a.txt, line 1", "a.txt, line 3"]


def test_labelled_texts_are_split_within_each_class(tmp_path):
    rows = [{"text": f"t{i}", "label": "rare" if i % 5 == 0 else "common"} for i in range(100)]
    source = TextFiles(train=lines(tmp_path / "a.jsonl", rows), label_key="label")
    counts = {split: [int(raw.targets["label"]) for raw in source.split(split)] for split in SPLITS}
    assert {split: (c.count(0), c.count(1)) for split, c in counts.items()} == {
        "train": (64, 16),
        "val": (8, 2),
        "test": (8, 2),
    }


def test_only_line_feeds_end_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\u2028still\x85still\x0cone\r\ntwo\n".encode())
    source = TextFiles(train=str(path), document="line", val_share=0, test_share=0)
    assert texts(source, "train") == ["one\u2028still\x85still\x0cone", "two"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (b'{"text": "x"}' if name == "a.jsonl" else b"x"))
    assert texts(TextFiles(train=str(tmp_path / name), val_share=0, test_share=0), "train") == ["x"]


@pytest.mark.parametrize("root", ["plain", "with [brackets]"])
def test_a_file_with_brackets_in_its_name_is_found_by_its_name_and_by_a_pattern(tmp_path, root):
    folder = tmp_path / root
    folder.mkdir()
    write(folder / "notes [2024].txt", "x")
    options = {"data_root": str(folder), "val_share": 0, "test_share": 0}
    for train in ("notes [2024].txt", str(folder / "notes [2024].txt"), "*.txt", "notes [[]*.txt"):
        assert texts(TextFiles(train=train, **options), "train") == ["x"]


def test_files_are_looked_for_where_one_stands_and_then_under_the_data_root(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "there.txt", "there")
    write(tmp_path / "here.txt", "here")
    monkeypatch.chdir(tmp_path)
    for name in ("here", "there"):
        for train in (f"{name}.txt", f"{name[:3]}*.txt"):
            source = TextFiles(train=train, data_root="data", val_share=0, test_share=0)
            assert texts(source, "train") == [name]


def test_a_pattern_passes_over_what_is_no_text_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt", "x")
    (tmp_path / "Thumbs.db").touch()
    with pytest.warns(UserWarning, match=r"passed over 1 of 2 files, .*: Thumbs\.db"):
        source = TextFiles(train="*", val_share=0, test_share=0)
    assert texts(source, "train") == ["x"]


BROKEN = '{"text": "a"}\n{"text"\n{"txt": "b"}\n' + '{"text": "c"}\n' * 17


def test_a_broken_line_stops_the_run_and_says_what_passes_over_it(tmp_path):
    path = write(tmp_path / "a.jsonl", BROKEN)
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: not JSON: .*; data\.on_error=skip passes over it"):
        Stream(source=TextFiles(train=path)).raws("train")


def test_broken_lines_are_skipped_counted_and_named(tmp_path):
    path = write(tmp_path / "a.jsonl", BROKEN)
    source = TextFiles(train=path, val_share=0, test_share=0)
    stream = Stream(source=source, on_error="skip", max_bad_fraction=0.1)
    with pytest.warns(UserWarning, match=r"2 of 20 lines were skipped: .*line 2: not JSON.*line 3: no field"):
        assert len(stream.raws("train")) == 18
    with pytest.raises(SampleError, match=r"2 of 20 samples of TextFiles cannot be read, more than max_bad_fraction="):
        Stream(source=source, on_error="skip", max_bad_fraction=0.05).raws("train")


def test_a_small_file_that_unfolds_into_very_much_is_refused(tmp_path, monkeypatch):
    from omniformer_tokenizers import limits

    monkeypatch.setattr(limits, "FREE_TEXT_BYTES", 2_000_000)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(bytes(6_000_000)))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"enough"))
    with pytest.raises(ValueError, match=r"a\.txt\.gz cannot be read as UTF-8 text: \d+ bytes or more out of \d+ by"):
        texts(TextFiles(train=str(tmp_path / "a.txt.gz"), val_share=0, test_share=0), "train")
    assert texts(TextFiles(train=str(tmp_path / "b.txt.gz"), val_share=0, test_share=0), "train") == ["enough"]
