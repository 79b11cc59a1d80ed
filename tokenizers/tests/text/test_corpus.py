import json
import os
import pickle

import numpy as np
import pytest
from omniformer_tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    Corpus,
    MediaError,
    SubwordTokenizer,
    encode_corpus,
    write_corpus,
)
from omniformer_tokenizers.text import corpus as corpus_module

from tokenizers import BertWordPieceTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer(vocab_size=300).fit(["the cat and the dog"])


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "a.txt").write_text("the cat\nsat", newline="")
    (tmp_path / "b.jsonl").write_text('{"text": "one dog"}\n\n{"text": ""}\n{"text": "two\\ndogs"}\n')
    (tmp_path / "c.txt").write_text("")
    (tmp_path / "d.txt").write_bytes("naïve\r\n😀".encode())
    return [tmp_path / name for name in ("a.txt", "b.jsonl", "c.txt", "d.txt")]


DOCUMENTS = ["the cat\nsat", "one dog", "", "two\ndogs", "", "naïve\r\n😀"]


def test_documents_come_back_in_the_order_of_the_sources(sources, tokenizer, tmp_path):
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    assert [tokenizer.decode(corpus[i].tolist()) for i in range(len(corpus))] == DOCUMENTS
    assert all(corpus[i][-1] == tokenizer.end_of_text for i in range(len(corpus)))
    assert corpus.lengths.tolist() == [len(tokenizer(text)) + 1 for text in DOCUMENTS]
    assert corpus.tokens.dtype == np.uint16
    assert isinstance(corpus.tokens, np.memmap)
    assert corpus.manifest["documents_of_source"] == [1, 3, 1, 1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ends.bin", "manifest.json", "tokens.bin"]


def test_without_end_ids_only_text_is_stored(sources, tokenizer, tmp_path):
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer, end_documents=False)
    assert corpus.lengths.tolist() == [len(tokenizer(text)) for text in DOCUMENTS]


@pytest.mark.slow
def test_several_processes_write_the_same_corpus(sources, tokenizer, tmp_path):
    for processes in (1, 2):
        encode_corpus(sources, tmp_path / str(processes), tokenizer=tokenizer, processes=processes)
    for name in ("ends.bin", "tokens.bin", "manifest.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_an_interrupted_run_continues_with_the_missing_parts(sources, tokenizer, tmp_path, monkeypatch):
    encode, done = corpus_module._encode_part, []

    def interrupted(documents, *arguments, **more):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(documents)
        encode(documents, *arguments, **more)

    monkeypatch.setattr(corpus_module, "_encode_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    with pytest.raises(FileNotFoundError, match="no finished corpus"):
        Corpus(tmp_path / "out")

    continued = []
    monkeypatch.setattr(
        corpus_module,
        "_encode_part",
        lambda documents, *a, **k: (continued.append(documents), encode(documents, *a, **k)),
    )
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    assert [documents.args for documents in continued] == [(str(path),) for path in sources[2:]]
    whole = encode_corpus(sources, tmp_path / "whole", tokenizer=tokenizer)
    np.testing.assert_array_equal(corpus.tokens, whole.tokens)


def test_a_half_written_part_is_written_again(sources, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "_finish", lambda *arguments: None)
    with pytest.raises(FileNotFoundError):
        encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    monkeypatch.undo()
    parts = tmp_path / "out" / "parts"
    (parts / "000001.ends").unlink()
    (parts / "000001.tokens").write_bytes(b"\0\0")
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    assert [tokenizer.decode(corpus[i].tolist()) for i in range(len(corpus))] == DOCUMENTS


def test_a_finished_corpus_is_opened_not_written_again(sources, tokenizer, tmp_path):
    encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    before = os.stat(tmp_path / "out" / "tokens.bin").st_mtime_ns
    assert len(encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)) == len(DOCUMENTS)
    assert os.stat(tmp_path / "out" / "tokens.bin").st_mtime_ns == before


def test_other_sources_or_another_tokenizer_are_not_mixed_in(sources, tokenizer, tmp_path):
    encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="a corpus with other sources"):
        encode_corpus(sources[:1], tmp_path / "out", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="a corpus with other tokenizer"):
        encode_corpus(sources, tmp_path / "out", tokenizer=BPETokenizer(vocab_size=290).fit(["a b c a b c"]))


def test_a_large_vocabulary_is_stored_in_32_bits(sources, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(BPETokenizer, "vocab_size", property(lambda self: 70_000))
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    assert corpus.tokens.dtype == np.uint32
    assert tokenizer.decode(corpus[0].tolist()) == DOCUMENTS[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"text": "a"}\nno json\n', r"x\.jsonl, line 2.*JSON"),
        ("x.jsonl", b'{"other": "a"}\n', r"x\.jsonl, line 1.*'text'"),
        ("x.jsonl", b'{"text": 3}\n', r"x\.jsonl, line 1.*holds int"),
        ("x.txt", b"\xff\xfe", r"x\.txt: cannot be read as text"),
        ("gone.txt", None, r"gone\.txt: cannot be read as text"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(tmp_path, tokenizer, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=message):
        encode_corpus([tmp_path / name], tmp_path / "out", tokenizer=tokenizer)


def test_no_sources_are_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="no sources"):
        encode_corpus([], tmp_path, tokenizer=tokenizer)


def test_a_truncated_corpus_is_refused(sources, tokenizer, tmp_path):
    encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    os.truncate(tmp_path / "out" / "tokens.bin", 10)
    with pytest.raises(ValueError, match=r"tokens\.bin has 10 bytes; its manifest tells of"):
        Corpus(tmp_path / "out")


def test_a_document_outside_is_refused(sources, tokenizer, tmp_path):
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    for index in (-1, len(corpus)):
        with pytest.raises(IndexError, match=f"document {index} is outside"):
            corpus[index]


def test_the_manifest_tells_what_was_encoded(sources, tokenizer, tmp_path):
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["n_tokens"] == len(corpus.tokens)
    assert manifest["job"]["tokenizer"] == tokenizer.digest
    assert [path for path, _, _ in manifest["job"]["sources"]] == [str(path) for path in sources]


def test_documents_may_come_from_anywhere_and_every_vocabulary_of_texts_will_do(tmp_path):
    told = []
    parts = [lambda: iter(["ab", "c"]), lambda: iter([]), lambda: iter(["é"])]
    corpus = write_corpus(
        parts, tmp_path / "out", tokenizer=ByteTokenizer(), about={"by": "hand"}, progress=told.append
    )
    end = ByteTokenizer().end_of_text
    assert [corpus[i].tolist() for i in range(len(corpus))] == [[97, 98, end], [99, end], [195, 169, end]]
    assert corpus.manifest["documents_of_source"] == [2, 0, 1]
    assert sum(told) == 4
    with pytest.raises(ValueError, match="a corpus with other by"):
        write_corpus(parts, tmp_path / "out", tokenizer=ByteTokenizer(), about={"by": "machine"})


def test_a_template_of_special_tokens_is_kept(tmp_path):
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3, "cat": 4}
    tokenizer = SubwordTokenizer.from_model(BertWordPieceTokenizer(words)._tokenizer, start="[CLS]", stop="[SEP]")
    corpus = write_corpus([lambda: ["the cat"]], tmp_path / "out", tokenizer=tokenizer, about={})
    assert corpus[0].tolist() == [1, 3, 4, 2, 2] == [*tokenizer("the cat").values.tolist(), tokenizer.end_of_text]


def test_a_corpus_travels_to_other_processes_as_the_name_of_its_folder(sources, tokenizer, tmp_path):
    corpus = encode_corpus(sources, tmp_path / "out", tokenizer=tokenizer)
    sent = pickle.dumps(corpus)
    assert len(sent) < 500
    np.testing.assert_array_equal(pickle.loads(sent).tokens, corpus.tokens)
