import json

import numpy as np
import pytest
import soundfile
from omniformer_tokenizers import SpectrogramTokenizer

from omniformer.data import AudioFolder, OmniDataModule, SampleError, Stream


def sound(path, seconds=0.1, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(int(seconds * rate)) / 5).astype(np.float32), rate)


@pytest.fixture
def folder(tmp_path):
    for label in ("low", "high"):
        for i in range(10):
            sound(tmp_path / label / f"{i}.wav", seconds=0.1 + 0.02 * i)
    return tmp_path


def module_of(source, **options):
    tokenizers = {"x": {"audio": SpectrogramTokenizer(sample_rate=8000, n_mels=20, n_fft=256, hop_length=80)}}
    return OmniDataModule(streams={"x": Stream(source=source, **options)}, tokenizers=tokenizers, seed=0)


def test_folders_are_classes(folder):
    source = AudioFolder(root=str(folder))
    assert source.labels == ("high", "low")
    assert [len(source.split(split)) for split in ("train", "val", "test")] == [16, 2, 2]


def test_sounds_of_any_length_are_decoded_into_one_batch(folder):
    batch = next(iter(module_of(AudioFolder(root=str(folder), val=0, test=0), batch_size=20).train_dataloader()))["x"]
    assert len(batch) == 20
    assert len(set(batch.lengths.tolist())) == 10


def test_a_manifest_gives_files_labels_and_splits(folder):
    (folder / "list.csv").write_text("path,label,split\nlow/1.wav,deep,train\nhigh/2.wav,deep,test\n", encoding="utf-8")
    source = AudioFolder(root=str(folder), manifest="list.csv")
    assert source.labels == ("deep",)
    assert [[raw.id for raw in source.split(s)] for s in ("train", "val", "test")] == [
        ["low/1.wav"],
        [],
        ["high/2.wav"],
    ]


def test_a_manifest_of_json_lines_is_the_same(folder):
    rows = [{"path": f"low/{i}.wav", "label": "a"} for i in range(10)]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    source = AudioFolder(root=str(folder), manifest="list.jsonl")
    assert [len(source.split(split)) for split in ("train", "val", "test")] == [8, 1, 1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "path,label\nlow/1.wav,\n", r"l\.csv, row 1: no 'label'"),
        ("l.csv", "path,label\nlow/99.wav,a\n", r"row 1: there is no file .*99\.wav"),
        ("l.csv", "path,label,split\nlow/1.wav,a,dev\n", "row 1: split 'dev' is not known"),
        ("l.csv", "path,label,split\nlow/1.wav,a,train\nlow/2.wav,a,\n", "gives a split for some files only"),
        ("l.csv", "path,label\n", "lists no files"),
        ("l.csv", "path,label\nl.csv,a\n", r"l\.csv is not one of \.wav"),
        ("l.jsonl", '{"path": "low/1.wav", "label": "a"}\n{"path"', r"l\.jsonl, line 2: not JSON"),
        ("l.jsonl", "[1]\n", "line 1: expected an object, received list"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused_with_its_line(folder, name, text, message):
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        AudioFolder(root=str(folder), manifest=name).split("train")


def test_a_missing_manifest_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.csv"):
        AudioFolder(root=str(folder), manifest="none.csv")


def test_a_damaged_file_is_named_with_the_cause(folder):
    (folder / "low" / "bad.wav").write_bytes(b"RIFF broken")
    module = module_of(AudioFolder(root=str(folder), val=0, test=0), batch_size=21)
    with pytest.raises(SampleError, match=r"sample 'low/bad.wav' of x: .*bad\.wav"):
        list(module.train_dataloader())


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
def test_a_table_may_have_other_delimiters_blanks_and_a_byte_order_mark(folder, delimiter, mark):
    rows = [("path", "label"), ("low/1.wav", "deep"), ("high/2.wav", "not deep")]
    text = mark + "".join(f"{delimiter.join(row)} \r\n" for row in rows)
    (folder / "list.csv").write_bytes(text.encode())
    source = AudioFolder(root=str(folder), manifest="list.csv", val=0, test=0)
    assert source.labels == ("deep", "not deep")
    assert [raw.id for raw in source.split("train")] == ["low/1.wav", "high/2.wav"]


def test_json_lines_may_begin_with_a_byte_order_mark_and_hold_separators(folder):
    (folder / "list.jsonl").write_bytes('\ufeff{"path": "low/1.wav", "label": "a\u2028b"}\n'.encode())
    assert AudioFolder(root=str(folder), manifest="list.jsonl", val=0, test=0).labels == ("a\u2028b",)


def test_a_row_with_more_fields_than_the_header_is_refused(folder):
    (folder / "list.csv").write_text("path,label\nlow/1.wav,deep,rough\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2: has 3 cells for 2 columns; put a cell"):
        AudioFolder(root=str(folder), manifest="list.csv").split("train")


def test_broken_rows_are_skipped_counted_and_named(folder):
    rows = "".join(f"low/{i}.wav,a\n" for i in range(10))
    (folder / "list.csv").write_text(f"path,label\n{rows}low/99.wav,a\n", encoding="utf-8")
    source = AudioFolder(root=str(folder), manifest="list.csv", val=0, test=0)
    stream = Stream(source=source, on_error="skip", max_bad_fraction=0.1)
    with pytest.warns(UserWarning, match=r"1 of 11 lines were skipped: .*row 11: there is no file .*99\.wav"):
        assert len(stream.raws("train")) == 10


def test_ids_do_not_depend_on_where_the_data_lie(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for root in (folder / "one", other / "two" / "three"):
        for name in ("a/1.wav", "b/1.wav"):
            sound(root / name)
        rows = "".join(f"{root / name},x\n" for name in ("a/1.wav", "b/1.wav"))
        (folder / f"{root.name}.csv").write_text(f"path,label\n../{folder.name}/low/0.wav,y\n{rows}", encoding="utf-8")
    found = [
        [raw.id for raw in AudioFolder(root=str(folder), manifest=f"{name}.csv", val=0, test=0).split("train")]
        for name in ("one", "three")
    ]
    assert found[1][1:] == ["a/1.wav", "b/1.wav"]
