from collections import Counter

import pytest
import torch
import vocabularies
from hypothesis import given
from hypothesis import strategies as st
from omniformer_tokenizers import BPETokenizer, PatchTokenizer, SubwordTokenizer

from omniformer.data.blocks import Blocks
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw, Source
from omniformer.data.stream import Stream

TOKENIZER = BPETokenizer(vocab_size=300).fit(["the cat and the dog, the cat and the bird"])
documents = st.lists(st.text(max_size=30), min_size=1, max_size=6)


def blocks(texts, *, split="val", seed=0, tokenizers=None, **sizes):
    raws = [Raw(id=f"doc {i}", contents={"text": text}) for i, text in enumerate(texts)]
    return Blocks(**sizes)(raws, tokenizers or {"text": TOKENIZER}, name="x", seed=seed, split=split)


class Texts(Source):
    def __init__(self, texts):
        self.texts = texts

    def split(self, name):
        return [Raw(id=f"doc {i}", contents={"text": text}) for i, text in enumerate(self.texts)]


def predictions(samples, epoch=0):
    """Each predicted token with the one before it, in order."""
    pairs = []
    for index in range(len(samples)):
        sample = samples(epoch, index)
        values, mask = sample.pieces[0].values.tolist(), sample.token_targets["mask"].tolist()
        pairs += [(values[i - 1], values[i]) for i in range(len(values)) if mask[i]]
    return pairs


def expected(texts):
    """The same by hand: every document behind an end-of-text, and one end-of-text at the end of it all."""
    ids = [i for text in texts for i in [TOKENIZER.end_of_text, *TOKENIZER(text).values.tolist()]]
    return list(zip(ids, [*ids[1:], TOKENIZER.end_of_text], strict=True))


@given(documents, st.integers(2, 12), st.data())
def test_evaluation_predicts_every_token_once_from_its_true_predecessor(texts, seq_len, data):
    stride = data.draw(st.none() | st.integers(1, seq_len - 1))
    samples = blocks(texts, seq_len=seq_len, stride=stride)
    assert predictions(samples) == expected(texts)


@given(documents, st.integers(2, 12), st.integers(0, 3))
def test_a_training_epoch_predicts_every_token_once_from_its_true_predecessor(texts, seq_len, epoch):
    samples = blocks(texts, split="train", seq_len=seq_len)
    assert Counter(predictions(samples, epoch)) == Counter(expected(texts))


@given(documents, st.integers(2, 12), st.sampled_from(["train", "val"]))
def test_bytes_of_the_predicted_tokens_add_up_to_the_text(texts, seq_len, split):
    samples = blocks(texts, seq_len=seq_len, split=split)
    total = sum(int(samples(0, i).targets["bytes"]) for i in range(len(samples)))
    assert total == sum(len(text.encode()) for text in texts)


@given(documents, st.integers(2, 12), st.sampled_from(["train", "val"]), st.data())
def test_no_block_is_longer_than_seq_len_and_lengths_are_known_beforehand(texts, seq_len, split, data):
    stride = data.draw(st.integers(1, seq_len - 1))
    samples = blocks(texts, seq_len=seq_len, stride=stride, split=split)
    made = [len(samples(1, i)) for i in range(len(samples))]
    assert made == samples.lengths()
    assert max(made) <= seq_len


def test_a_smaller_stride_gives_every_later_token_more_context():
    text = "the cat and the dog, the cat and the bird " * 20
    samples = blocks([text], seq_len=16, stride=4)
    context = [int((~samples(0, i).token_targets["mask"]).sum()) for i in range(len(samples))]
    assert context[:4] == [1, 5, 9, 12]
    assert set(context[3:]) == {12}


def test_training_cuts_elsewhere_each_epoch_and_the_same_way_in_the_same_epoch():
    samples = blocks(["the cat and the dog " * 30], split="train", seq_len=8)
    first, again, other = (samples(epoch, 0).pieces[0].values for epoch in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_positions_count_from_the_beginning_of_the_block():
    assert blocks(["the cat and the dog"], seq_len=4)(0, 1).pieces[0].positions[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"seq_len": 1}, "seq_len=1 must be at least 2"), ({"seq_len": 8, "stride": 8}, r"stride=8 must be in 1\.\.7")],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Blocks(**sizes)


def test_a_split_without_documents_is_refused():
    with pytest.raises(ValueError, match="x has no documents"):
        blocks([], seq_len=4)


def test_a_tokenizer_that_is_not_for_text_is_refused():
    with pytest.raises(ValueError, match="Blocks cuts text"):
        blocks(["a"], seq_len=4, tokenizers={"vision": PatchTokenizer()})


def test_a_document_that_is_not_text_is_named():
    with pytest.raises(SampleError, match="document 'doc 1' of x"):
        blocks(["a", 7], seq_len=4)


def test_of_documents_that_are_refused_the_rest_is_read_where_they_are_skipped():
    arrange = Blocks(seq_len=4)
    stream = Stream(source=Texts(["the cat", 7, "a dog"]), arrange=arrange, on_error="skip", max_bad_fraction=0.5)
    with pytest.warns(UserWarning, match="x: 1 of 3 documents were skipped: doc 1: "):
        samples = stream.samples("val", {"text": TOKENIZER}, name="x", seed=0)
    assert predictions(samples) == expected(["the cat", "a dog"])


def test_documents_in_a_published_vocabulary_stand_between_its_ends_of_text():
    tokenizer = SubwordTokenizer.from_model(vocabularies.llama().backend_tokenizer, start="<s>", stop="</s>")
    texts = ["the cat", "a dog and a bird 😀"]
    samples = blocks(texts, seq_len=6, tokenizers={"text": tokenizer})
    ids = [i for text in texts for i in [2, *tokenizer(text).values.tolist()]]
    assert predictions(samples) == list(zip(ids, [*ids[1:], 2], strict=True))
    total = sum(int(samples(0, i).targets["bytes"]) for i in range(len(samples)))
    assert total == sum(len(text.encode()) + 1 for text in texts)  # a blank stands before every text
