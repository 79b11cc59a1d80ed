"""What counting says of pictures in ids equals counting one value after the other."""

import math

import pytest
import torch
from omniformer_tokenizers import PixelTokenizer

from omniformer.baselines import Problem
from omniformer.baselines.every import EVERY
from omniformer.baselines.sequences import AnyPlace, ByPlace, ByPrevious
from omniformer.data.source import Raw
from omniformer.heads import NextTokenHead
from omniformer.tasks import Autoregression

METHODS = [AnyPlace, ByPlace, ByPrevious]


@pytest.fixture
def written():
    """Problems of grey pictures, given by rows of levels from 0 to 3."""

    def make(pictures, image_size=None):
        tokenizer = PixelTokenizer(channels=1, levels=4, image_size=image_size)
        n = tokenizer.facts["vocab_size"]
        raws = {
            split: [
                Raw(id=f"{split}/{i}", contents={"vision": torch.tensor(rows, dtype=torch.float)[None] / 3})
                for i, rows in enumerate(chosen)
            ]
            for split, chosen in pictures.items()
        }
        task = Autoregression(head=NextTokenHead(d_model=4, vocab_size=n, modality="vision"))
        return Problem(name="mine", kind="ids", task=task, raws=raws, tokenizers={"vision": tokenizer}, n_outputs=n)

    return make


@pytest.fixture
def drawn(written):
    generator = torch.Generator().manual_seed(0)
    return written(
        {s: torch.randint(4, (n, 3, 3), generator=generator).tolist() for s, n in (("train", 9), ("test", 4))}
    )


def bits(method, problem):
    return problem.scores("test", method().answers(problem)["test"])["bits_per_dim"]


def slowly(problem, context):
    """Bits of a value, by the samples of training that count as one more each time their context comes."""
    train = [row.tolist() for row in problem.ids("train")]
    pairs = [(context(row, i), row[i]) for row in train for i in range(1, len(row))]
    total, n = 0.0, 0
    for row in (row.tolist() for row in problem.ids("test")):
        for i in range(1, len(row)):
            often = sum(value == row[i] for _, value in pairs)
            alike = [value for place, value in pairs if place == context(row, i)]
            share = (often + 1) / (len(pairs) + problem.n_outputs)
            total -= math.log2((alike.count(row[i]) + share) / (len(alike) + 1))
            n += 1
    return total / n


def test_they_and_no_others_say_something_of_values(drawn):
    assert [kind for kind in EVERY if kind().fits(drawn)] == METHODS


@pytest.mark.parametrize(
    ("method", "context"),
    [(AnyPlace, lambda row, i: 0), (ByPlace, lambda row, i: i), (ByPrevious, lambda row, i: row[i - 1])],
)
def test_counting_is_counting(method, context, drawn):
    assert bits(method, drawn) == pytest.approx(slowly(drawn, context))


def test_a_place_tells_of_pictures_that_are_alike_and_the_last_value_of_a_chain(written):
    alike = written({"train": [[[0, 3], [1, 2]]] * 20, "test": [[[0, 3], [1, 2]]]})
    assert bits(ByPlace, alike) < 0.2 < 1.5 < bits(AnyPlace, alike)
    chain = [[[k % 4, (k + 1) % 4], [(k + 2) % 4, (k + 3) % 4]] for k in range(4)]
    chains = written({"train": chain * 10, "test": chain})
    assert bits(ByPrevious, chains) < 0.8 < 1.9 < bits(ByPlace, chains)


def test_how_much_all_values_count_is_chosen_on_validation(written):
    train, other = [[[0, 1], [2, 3]]] * 2, [[[3, 2], [1, 0]]]
    seen = bits(ByPlace, written({"train": train, "val": train, "test": other}))
    unseen = bits(ByPlace, written({"train": train, "val": other, "test": other}))
    assert unseen < 2.5 < seen


def test_a_larger_picture_is_as_the_last_place_beyond_those_of_training(written):
    larger = written({"train": [[[0, 3]]] * 20, "test": [[[0, 3, 3, 3]]]})
    assert bits(ByPlace, larger) < 0.2


def test_another_size_is_another_problem(written):
    rows = {"train": [[[0, 3]]], "test": [[[0, 3]]]}
    assert written(rows).digest() == written(rows).digest() != written(rows, image_size=(1, 1)).digest()
