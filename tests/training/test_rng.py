"""Randomness of a step depends on seed, epoch, batch and rank, and on nothing else."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omniformer.training.rng import StepSeeds, reseed, step_key


def draw():
    return torch.rand(4).tolist(), random.random(), np.random.rand(3).tolist()  # noqa: NPY002


def test_same_key_gives_the_same_draws_everywhere():
    reseed(5)
    first = draw()
    draw()
    reseed(5)
    assert draw() == first
    reseed(6)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


@given(st.lists(st.tuples(*[st.integers(0, 2**32)] * 4), min_size=2, max_size=20, unique=True))
def test_different_places_have_different_keys(places):
    keys = [step_key(*place) for place in places]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)


def test_seed_epoch_batch_and_rank_each_make_another_key():
    places = list(itertools.product((0, 1), repeat=4))
    assert len({step_key(*place) for place in places}) == len(places)


def masks(regressor, make_loader, make_trainer, seed=0, **options):
    """What dropout would draw in each step."""
    module, drawn = regressor(), []
    module.before_step = lambda *_: drawn.append(torch.rand(2).tolist())
    from omniformer.training.trainer import build_trainer

    trainer = build_trainer(
        {"accelerator": "cpu", "max_epochs": 2, "enable_model_summary": False, "log_every_n_steps": 1} | options,
        callbacks={"seeds": StepSeeds(seed=seed)},
        loggers={},
        output_dir="unused",
    )
    trainer.fit(module, make_loader(), make_loader())
    return drawn


def test_validation_does_not_change_what_training_draws(regressor, make_loader, make_trainer):
    plain = masks(regressor, make_loader, make_trainer, limit_val_batches=0)
    assert masks(regressor, make_loader, make_trainer, val_check_interval=1, num_sanity_val_steps=2) == plain
    assert len({tuple(mask) for mask in plain}) == 6
    assert masks(regressor, make_loader, make_trainer, seed=1, limit_val_batches=0) != plain


def test_negative_seed_is_told():
    with pytest.raises(ValueError, match="seed=-1"):
        StepSeeds(seed=-1)
