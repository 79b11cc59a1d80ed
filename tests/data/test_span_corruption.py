import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omniformer_tokenizers import BPETokenizer, PatchTokenizer

from omniformer.batch import collate
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw
from omniformer.data.span_corruption import SpanCorruption, sentinels

SPECIAL = ("<|endoftext|>", *sentinels(12))
TOKENIZER = BPETokenizer(vocab_size=320, special_tokens=SPECIAL).fit(["the cat and the dog, the cat and the bird"])
HOLES = [TOKENIZER.special_id(name) for name in sentinels(12)]
TEXT = "the cat and the dog, the cat and the bird"


def corrupted(texts, *, split="train", seed=0, tokenizers=None, **how):
    raws = [Raw(id=f"doc {i}", contents={"text": text}) for i, text in enumerate(texts)]
    return SpanCorruption(**how)(raws, tokenizers or {"text": TOKENIZER}, name="x", seed=seed, split=split)


def filled(sample) -> list[int]:
    """The ids with every hole filled by what the answer says of it."""
    start, *answer, stop = sample.answer[0].values.tolist()
    assert start == stop == TOKENIZER.end_of_text
    parts: dict[int, list[int]] = {}
    for i in answer:
        if i in HOLES:
            parts[i] = []
            hole = i
        else:
            parts[hole].append(i)
    out = []
    for i in sample.pieces[0].values.tolist():
        out += parts.pop(i) if i in parts else [i]
    assert not parts
    return out


@given(
    st.lists(st.text(max_size=40), min_size=1, max_size=4),
    st.integers(2, 24),
    st.floats(0.05, 0.9),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_filling_the_holes_gives_the_text_back(texts, seq_len, share, mean_span, epoch):
    kept = [ids for text in texts if len(ids := TOKENIZER(text).values.tolist()) >= 2]
    if not kept:
        return
    samples = corrupted([*texts, TEXT], seq_len=seq_len, share=share, mean_span=mean_span)
    whole: dict[str, list[int]] = {}
    for index in range(len(samples)):
        sample = samples(epoch, index)
        assert sample.n_tokens == samples.length(index)
        crop = filled(sample)
        assert len(crop) <= seq_len
        whole.setdefault(sample.id.split("/")[0], []).extend(crop)
    expected = {f"doc {i}": TOKENIZER(text).values.tolist() for i, text in enumerate([*texts, TEXT])}
    if seq_len > 2:  # pieces of two may leave a single token, which is left out
        assert whole == {name: ids for name, ids in expected.items() if len(ids) >= 2}


def test_the_share_is_dropped_in_runs_of_the_mean_length():
    samples = corrupted([TEXT * 20], seq_len=100, share=0.2, mean_span=4)
    sample = samples(0, 0)
    n = len(filled(sample))
    holes = sum(i in HOLES for i in sample.pieces[0].values.tolist())
    assert n - (len(sample.pieces[0]) - holes) == round(0.2 * n)
    assert holes == round(round(0.2 * n) / 4)
    assert [i for i in sample.pieces[0].values.tolist() if i in HOLES] == HOLES[:holes]


def test_training_drops_other_runs_each_epoch_and_evaluation_always_the_same():
    def pieces(samples, *epochs):
        return [samples(epoch, 0).pieces[0].values.tolist() for epoch in epochs]

    first, again, other = pieces(corrupted([TEXT], seq_len=64), 1, 1, 2)
    assert first == again != other
    fixed = [pieces(corrupted([TEXT], seq_len=64, split="val", seed=seed), 0, 1) for seed in (0, 1)]
    assert fixed[0] == fixed[1]
    assert fixed[0][0] == fixed[0][1]


def test_long_documents_become_pieces_of_equal_size():
    samples = corrupted([TEXT * 3], seq_len=16)
    sizes = {len(filled(samples(0, i))) for i in range(len(samples))}
    assert max(sizes) - min(sizes) <= 1
    assert samples.id(0) == "doc 0/0"
    assert collate([samples(0, i) for i in range(len(samples))]).answer is not None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seq_len": 1}, "seq_len=1 must be at least 2"),
        ({"seq_len": 8, "share": 0.0}, "share=0.0"),
        ({"seq_len": 8, "mean_span": 0}, "mean_span=0"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SpanCorruption(**wrong)


def test_too_few_sentinels_are_told_with_what_to_do():
    with pytest.raises(ValueError, match=r"no special token '<\|span_12\|>'; add sentinels\(\d+\)"):
        corrupted([TEXT * 40], seq_len=80, share=0.5, mean_span=1)


def test_a_tokenizer_that_is_not_for_text_is_refused():
    with pytest.raises(ValueError, match="SpanCorruption cuts text"):
        corrupted([TEXT], seq_len=8, tokenizers={"vision": PatchTokenizer()})


def test_a_split_without_text_is_refused():
    with pytest.raises(ValueError, match="x has no document of two or more tokens"):
        corrupted([""], seq_len=8)


def test_a_document_that_is_not_text_is_named():
    with pytest.raises(SampleError, match="document 'doc 1' of x"):
        corrupted(["the cat", 7], seq_len=4)


def test_ids_are_those_of_the_tokenizer():
    samples = corrupted([TEXT], seq_len=64)
    assert samples(0, 0).pieces[0].values.dtype == torch.long
    assert filled(samples(0, 0)) == TOKENIZER(TEXT).values.tolist()
