import pytest
from omniformer_tokenizers import BPETokenizer

from omniformer.data.blocks import Blocks
from omniformer.data.documents import encoded
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw

TOKENIZER = BPETokenizer(vocab_size=300).fit(["the cat and the dog"])
NO_TEXT = Raw(id="without", contents={"vision": "a.png"})


def documents(*texts):
    return [Raw(id=f"doc {i}", contents={"text": text}) for i, text in enumerate(texts)]


def how(**options) -> Blocks:
    arrangement = Blocks(seq_len=4)
    for name, value in options.items():
        setattr(arrangement, name, value)
    return arrangement


def test_documents_come_in_order_with_the_ids_of_the_tokenizer(monkeypatch):
    monkeypatch.setattr("omniformer.data.documents._CHUNK", 2)
    raws = documents("the cat", "", "a dog")
    found = list(encoded(raws, TOKENIZER, "x", how()))
    assert [(raw.id, ids.tolist()) for raw, ids in found] == [
        (raw.id, TOKENIZER(raw.contents["text"]).values.tolist()) for raw in raws
    ]


@pytest.mark.parametrize(
    ("bad", "cause"),
    [(NO_TEXT, "document 'without' of x: has no text, only"), (documents(7)[0], "document 'doc 0' of x: ")],
)
def test_a_document_that_cannot_be_read_is_named_with_what_passes_over_it(bad, cause):
    with pytest.raises(SampleError, match=rf"{cause}.*data\.on_error=skip passes over it"):
        list(encoded([*documents("the cat"), bad], TOKENIZER, "x", how()))


def test_skipped_documents_are_counted_and_named_and_too_many_are_refused():
    raws = [*documents("the cat", 7, "a dog"), NO_TEXT]
    with pytest.warns(UserWarning, match="x: 2 of 4 documents were skipped: doc 1: .*; without: has no text") as told:
        found = list(encoded(raws, TOKENIZER, "x", how(on_error="skip", max_bad_fraction=0.5)))
    assert [raw.id for raw, _ in found] == ["doc 0", "doc 2"] and len(told) == 1
    with pytest.raises(SampleError, match="2 of 4 samples of x cannot be read, more than max_bad_fraction=0.25"):
        list(encoded(raws, TOKENIZER, "x", how(on_error="skip", max_bad_fraction=0.25)))
