import pickle

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, write_corpus

from omniformer.data.blocks import Blocks
from omniformer.data.corpus import TokenizedCorpus
from omniformer.data.source import Raw

TEXTS = {"train": ["the cat and the dog " * 9, "a bird", "naïve 😀"], "val": ["the bird and the cat"]}
TOKENIZER = BPETokenizer(vocab_size=300).fit(TEXTS["train"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    TOKENIZER.save_pretrained(folder / "tokenizer")
    for split, texts in TEXTS.items():
        write_corpus([lambda texts=texts: texts], folder / split, tokenizer=TOKENIZER, about={})
    return folder


def test_documents_come_back_with_their_tokenizer(folder):
    source = TokenizedCorpus(folder=str(folder))
    assert [raw.contents["text"] for raw in source.split("train")] == TEXTS["train"]
    assert source.split("val")[-1].contents["text"] == TEXTS["val"][0]
    assert len(source.split("test")) == 0
    assert source.tokenizers["text"].digest == TOKENIZER.digest


@pytest.mark.parametrize("split", ["train", "val"])
def test_blocks_of_a_corpus_are_those_of_its_texts(folder, split):
    arrange = Blocks(seq_len=7, stride=3)
    raws = [Raw(id=str(i), contents={"text": text}) for i, text in enumerate(TEXTS[split])]
    corpus = TokenizedCorpus(folder=str(folder)).split(split)
    expected, made = (arrange(each, {"text": TOKENIZER}, name="x", seed=1, split=split) for each in (raws, corpus))
    made = pickle.loads(pickle.dumps(made))  # as data workers get it
    assert len(made) == len(expected)
    for epoch in (0, 1):
        for index in range(len(expected)):
            one, other = expected(epoch, index), made(epoch, index)
            assert one.id == other.id
            assert torch.equal(one.pieces[0].values, other.pieces[0].values)
            assert torch.equal(one.targets["bytes"], other.targets["bytes"])
            assert torch.equal(one.token_targets["mask"], other.token_targets["mask"])


def test_another_vocabulary_than_that_of_the_corpus_is_refused(folder):
    corpus = TokenizedCorpus(folder=str(folder)).split("train")
    with pytest.raises(ValueError, match="holds ids of another vocabulary than that of this run"):
        Blocks(seq_len=7)(corpus, {"text": ByteTokenizer()}, name="x", seed=1, split="train")


def test_a_folder_that_is_no_corpus_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no corpus.*omniformer tokenize writes one from texts"):
        TokenizedCorpus(folder=str(tmp_path))
