import json
from itertools import chain

import pytest
from omniformer_tokenizers import ByteTokenizer, Corpus, load

from omniformer.data.corpus import TokenizedCorpus
from omniformer.tokenize import main

TEXTS = [f"document {i} of the cat and the dog" for i in range(200)]


@pytest.fixture
def texts(tmp_path):
    lines = [json.dumps({"text": text}) for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[:150]))
    (tmp_path / "b.jsonl").write_text("\n".join(lines[150:]))
    return str(tmp_path / "*.jsonl")


def read(folder):
    source = TokenizedCorpus(folder=str(folder))
    return {split: [raw.contents["text"] for raw in source.split(split)] for split in ("train", "val", "test")}


def test_texts_become_a_corpus_of_three_splits_and_no_document_is_lost(texts, tmp_path, capsys):
    out = tmp_path / "out"
    main([texts, "--out", str(out), "--vocab-size", "300", "--val-share", "0.1", "--test-share", "0.2"])
    found = read(out)
    assert sorted(chain.from_iterable(found.values())) == sorted(TEXTS)
    assert all(found.values())
    told = capsys.readouterr().out
    assert f"{len(found['val'])}" in told
    assert f"omniformer train modality=text data=corpus data.source.folder={out}" in told


def test_a_second_call_does_nothing_and_other_files_are_refused(texts, tmp_path, capsys):
    call = [texts, "--out", str(tmp_path / "out"), "--vocab-size", "300", "--val-share", "0.1", "--test-share", "0.1"]
    main(call)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.bin")}
    main(call)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.bin")} == before
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write('\n{"text": "one more"}')
    with pytest.raises(SystemExit):
        main(call)
    assert "holds a corpus with other sources; choose another folder or remove it" in capsys.readouterr().err


def test_files_of_their_own_for_validation_and_a_tokenizer_that_is_there(tmp_path):
    for name in ("train", "val"):
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n\n{name} two")
    ByteTokenizer().save_pretrained(tmp_path / "bytes")
    out, paths = tmp_path / "out", {name: str(tmp_path / f"{name}.txt") for name in ("train", "val")}
    call = [paths["train"], "--val", paths["val"], "--document", "paragraph", "--test-share", "0", "--out", str(out)]
    main([*call, "--tokenizer", str(tmp_path / "bytes")])
    assert read(out) == {"train": ["train one", "train two"], "val": ["val one", "val two"], "test": []}
    assert load(out / "tokenizer").digest == ByteTokenizer().digest
    assert len(Corpus(out / "train").tokens) == 2 * (len("train one") + 1)


def test_what_is_passed_over_is_counted_and_named(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": " "}\n{"text": 3}\n{"text": "two"}')
    call = [str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "out"), "--vocab-size", "260"]
    call += ["--val-share", "0", "--test-share", "0"]
    with pytest.raises(SystemExit):
        main(call)
    assert "a.jsonl, line 3: expected a text 'text', received the keys ['text']" in capsys.readouterr().err
    main([*call, "--on-error", "skip"])
    told = capsys.readouterr().err
    assert "1 document(s) without a letter are passed over" in told
    assert "skipped: " in told
    assert "a.jsonl, line 3" in told
    assert read(tmp_path / "out")["train"] == ["one", "two"]


def test_a_split_without_a_document_says_what_to_do(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("one document")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "a.txt"), "--out", str(tmp_path / "out")])
    assert "give smaller documents (--document paragraph or line)" in capsys.readouterr().err
