import pytest
import torch
from omniformer_tokenizers import Tokenizer, Tokens

from omniformer.data.each_raw import EachRaw
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw


def each(ints, contents, **kwargs):
    raws = [Raw(id=f"s{i}", contents={"text": c}, targets={"label": torch.tensor(i)}) for i, c in enumerate(contents)]
    return EachRaw(raws, {"text": ints}, name="x", seed=0, **kwargs)


def one_more(content, generator):
    return [*content, int(torch.randint(1000, (), generator=generator))]


def zeros(tokens, generator):
    return Tokens(values=tokens.values * 0, positions=tokens.positions, modality=tokens.modality)


def test_a_raw_sample_becomes_tokens_with_its_id_and_targets(ints):
    sample = each(ints, [[1], [2, 3]])(0, 1)
    assert (sample.id, sample.pieces[0].values.tolist(), int(sample.targets["label"])) == ("s1", [2, 3], 1)


def test_lengths_count_tokens(ints):
    assert each(ints, [[1], [2, 3]]).lengths() == [1, 2]


def test_augmentation_depends_on_epoch_and_sample_only(ints):
    samples = each(ints, [[1], [1]], augment={"text": one_more})
    draws = [samples(epoch, index).pieces[0].values.tolist() for epoch, index in [(0, 0), (0, 1), (1, 0), (0, 0)]]
    assert draws[0] == draws[3]
    assert len({tuple(draw) for draw in draws}) == 3


def test_the_order_of_access_does_not_change_augmentation(ints):
    forward, backward = (each(ints, [[1], [1]], augment={"text": one_more}) for _ in range(2))
    first = [forward(0, i).pieces[0].values.tolist() for i in (0, 1)]
    assert first == [backward(0, i).pieces[0].values.tolist() for i in (1, 0)][::-1]


def test_tokens_can_be_augmented_after_tokenizing(ints):
    assert each(ints, [[5, 6]], augment_tokens={"text": zeros})(0, 0).pieces[0].values.tolist() == [0, 0]


def test_the_cache_tokenizes_once_and_keeps_augmented_tokens_out(ints):
    calls = []

    class Counting(type(ints)):
        def __call__(self, raw):
            calls.append(raw)
            return super().__call__(raw)

    samples = each(Counting(), [[5]], cache=True, augment_tokens={"text": zeros})
    assert [samples(epoch, 0).pieces[0].values.tolist() for epoch in (0, 1)] == [[0], [0]]
    assert len(calls) == 1
    assert samples._kept[0][0]["text"][0].values.tolist() == [5]


def test_a_corrupt_sample_is_named_with_its_data_set_and_the_cause(ints):
    with pytest.raises(SampleError, match="sample 's1' of x: damaged header"):
        each(ints, [[1], "corrupt"])(0, 1)


def test_a_modality_without_a_tokenizer_is_named(ints):
    samples = EachRaw([Raw(id="a", contents={"audio": 1})], {"text": ints}, name="x", seed=0)
    with pytest.raises(KeyError, match="x holds 'audio', but there are tokenizers only for"):
        samples(0, 0)


def test_pieces_come_in_the_order_of_the_contents_and_missing_ones_are_left_out(ints):
    class Other(type(ints)):
        modality = "other"

        def __call__(self, raw):
            return Tokens(values=torch.tensor(raw), positions=torch.zeros(len(raw), 1), modality="other")

    raws = [Raw(id="a", contents={"other": [1], "text": [2]}), Raw(id="b", contents={"text": [3]})]
    samples = EachRaw(raws, {"text": ints, "other": Other()}, name="x", seed=0)
    assert [[p.modality for p in samples(0, i).pieces] for i in (0, 1)] == [["other", "text"], ["text"]]


def test_a_text_that_is_too_long_is_cut_but_for_the_special_tokens_that_close_it(ints):
    class Framed(type(ints)):
        special_tokens = ("first", "last")
        stops = ()

        def special_id(self, name):
            return {"first": 1, "last": 2}[name]

        def __call__(self, raw):
            return super().__call__([1, *raw, 2])

    samples = each(Framed(), [[5, 6, 7, 8], [5], []], max_tokens=4)
    assert [samples(0, i).pieces[0].values.tolist() for i in range(3)] == [[1, 5, 6, 2], [1, 5, 2], [1, 2]]
    assert samples(0, 0).pieces[0].positions.shape == (4, 1)
    assert each(Framed(), [[5, 6]], max_tokens=1)(0, 0).pieces[0].values.tolist() == [1]


class Together(Tokenizer):
    """Numbers that are read at once; `calls` says how often."""

    modality = "text"

    def __init__(self):
        self.calls = 0

    def __call__(self, raw):
        return Tokens(values=torch.tensor(raw), positions=torch.zeros(len(raw), 1), modality="text")

    def encode_batch(self, raws):
        self.calls += 1
        return super().encode_batch(raws)

    @property
    def facts(self):
        return {"vocab_size": 100}

    def config(self):
        return {}


def test_examples_made_together_equal_those_made_one_by_one_and_are_read_at_once():
    def made(**options):
        raws = [
            Raw(id=f"s{n}", contents={"text": [n] * (1 + n % 3)} | ({"audio": [n, n]} if n % 2 else {}))
            for n in range(6)
        ]
        tokenizers = {"text": Together(), "audio": Together()}
        samples = EachRaw(
            raws,
            tokenizers,
            name="x",
            seed=0,
            augment={"text": one_more},
            augment_tokens={"audio": zeros},
            drop=0.4,
            **options,
        )
        return samples, tokenizers

    samples, tokenizers = made()
    keys = [(epoch, index) for epoch in (0, 1) for index in (3, 0, 5, 3)]
    together = samples.many(keys)
    assert [tokenizer.calls for tokenizer in tokenizers.values()] == [1, 1]
    for key, found in zip(keys, together, strict=True):
        alone = made()[0](*key)
        assert found.id == alone.id
        assert [(piece.modality, piece.values.tolist()) for piece in found.pieces] == [
            (piece.modality, piece.values.tolist()) for piece in alone.pieces
        ]


def test_the_answer_of_examples_made_together_is_that_of_each(ints):
    samples = each(ints, [[1], [2, 2]], answer="text")
    assert [sample.answer[0].values.tolist() for sample in samples.many([(0, 1), (0, 0)])] == [[2, 2], [1]]


def test_the_cache_is_filled_and_read_by_examples_made_together():
    tokenizer = Together()
    samples = each(tokenizer, [[1], [2], [3]], cache=True)
    samples.many([(0, 0), (0, 1)])
    found = samples.many([(1, 1), (1, 2), (1, 0)])
    assert [sample.pieces[0].values.tolist() for sample in found] == [[2], [3], [1]]
    samples.many([(2, 2), (2, 0)])
    assert tokenizer.calls == 2 and sorted(samples._kept) == [0, 1, 2]


def test_of_examples_made_together_the_one_that_cannot_be_is_named(ints):
    with pytest.raises(SampleError, match="sample 's1' of x: damaged header"):
        each(ints, [[1], "corrupt", [2]]).many([(0, 0), (0, 1), (0, 2)])
