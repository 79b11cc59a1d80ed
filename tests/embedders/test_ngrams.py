"""Words as ids and hashed stretches of letters."""

import copy

import pytest
import torch
from omniformer_tokenizers import SpelledWordTokenizer, WordTokenizer, pack

from omniformer.embedders import NGramEmbedder

TOKENIZER = SpelledWordTokenizer(letters=9).fit(["the cat sat on the mat"])


def embedder(**options):
    torch.manual_seed(0)
    return NGramEmbedder(d_model=6, **TOKENIZER.facts, **{"ngrams": [2, 3], "buckets": 50, **options})


def hashed(stretch, buckets):
    number = len(stretch)
    for byte in stretch:
        number = (number * 8191 + byte) % (2**31 - 1)
    return number % buckets + 1


def slow(made, text):
    """Word by word, stretch by stretch."""
    rows = []
    for word, id in zip(text.split(), TOKENIZER(text).values.tolist(), strict=True):
        read = b"\1" + word.encode() + b"\2"
        read = read[:9]
        stretches = [read[i : i + n] for n in made.ngrams for i in range(len(read) - n + 1)]
        vectors = [made.stretches.weight[hashed(each, made.stretches.num_embeddings - 1)] for each in stretches]
        rows.append(made.table.weight[id] + sum(vectors) / len(stretches) ** 0.5)
    return torch.stack(rows)


def test_a_word_is_its_id_and_the_sum_of_its_stretches():
    made, text = embedder(), "the cats a unforgettable"
    found, expected = made(pack([TOKENIZER(text)])), slow(made, text)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    grads = [
        torch.autograd.grad((x * weights).sum(), [made.table.weight, made.stretches.weight]) for x in (found, expected)
    ]
    torch.testing.assert_close(*grads)


def test_unknown_words_differ_by_their_letters_and_are_near_their_kin():
    made = embedder(ngrams=[3, 4], buckets=5000)
    mats, matz, bird = made(pack([TOKENIZER("mats matz bird")])) - made.table.weight[TOKENIZER.unknown]
    assert torch.cosine_similarity(mats, matz, dim=0) > torch.cosine_similarity(mats, bird, dim=0)
    assert not torch.equal(mats, matz)


def test_words_are_left_out_in_training_alone():
    made = embedder(word_dropout=0.5)
    packed = pack([TOKENIZER("the " * 4000)])
    whole = made.eval()(packed)
    letters = whole[0] - made.table.weight[TOKENIZER("the").values[0]]
    found = made.train()(packed)
    left_out = torch.isclose(found, letters).all(1)
    torch.testing.assert_close(found[~left_out], whole[: int((~left_out).sum())])
    assert 0.45 < left_out.float().mean() < 0.55


def test_each_vector_of_a_word_is_left_out_by_itself_in_training_and_the_mean_stays():
    torch.manual_seed(0)
    made = NGramEmbedder(d_model=16, **TOKENIZER.facts, ngrams=[2, 3], buckets=5000, init_std=1.0, ngram_dropout=0.25)
    stretches = [b"\1t", b"th", b"he", b"e\2", b"\1th", b"the", b"he\2"]
    vectors = [made.stretches.weight[hashed(each, 5000)] / len(stretches) ** 0.5 for each in stretches]
    vectors = torch.stack([made.table.weight[TOKENIZER("the").values[0]], *vectors])
    packed = pack([TOKENIZER("the " * 2000)])
    torch.testing.assert_close(made.eval()(packed)[0], vectors.sum(0))
    times = made.train()(packed) @ torch.linalg.pinv(vectors)  # how often each vector is in each token
    torch.testing.assert_close(times, torch.where(times > 0.5, 1 / 0.75, 0.0), atol=1e-3, rtol=0)
    kept = (times > 0.5).double()
    torch.testing.assert_close(kept.mean(0), torch.full((8,), 0.75).double(), atol=0.04, rtol=0)
    assert (torch.corrcoef(kept.T) - torch.eye(8)).abs().max() < 0.1


def test_what_stands_for_no_stretch_stays_zero():
    made = embedder()
    made.reset_parameters()
    before = copy.deepcopy(made.stretches.weight)
    made(pack([TOKENIZER("a")])).sum().backward()
    assert not before[0].any()
    assert not made.stretches.weight.grad[0].any()


def test_tokens_without_letters_are_refused_by_name():
    plain = WordTokenizer().fit(["the cat"])
    with pytest.raises(
        ValueError, match="have no feature 'letters', which this embedder reads; use tokenizer=spelled_words"
    ):
        embedder()(pack([plain("the")]))


def test_stretches_longer_than_words_are_refused():
    with pytest.raises(ValueError, match=r"ngrams=\[3, 10\] must be numbers of letters, of the 9 of a word at most"):
        embedder(ngrams=[3, 10])
