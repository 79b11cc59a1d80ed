import hashlib
import json

import pytest
import torch

from omniformer.data.random import fraction, generator, permutation


def test_the_same_choice_about_the_same_sample_gives_the_same_numbers():
    first, second = (torch.rand(5, generator=generator(3, 1, "a", "augment")) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("other", [(4, 1, "a", "x"), (3, 2, "a", "x"), (3, 1, "b", "x"), (3, 1, "a", "y")])
def test_a_change_of_seed_epoch_sample_or_purpose_gives_other_numbers(other):
    ours = torch.rand(5, generator=generator(3, 1, "a", "x"))
    assert not torch.equal(ours, torch.rand(5, generator=generator(*other)))


def test_parts_do_not_run_into_each_other():
    assert generator(0, 1, "1", "x").initial_seed() != generator(0, 11, "", "x").initial_seed()


def test_a_generator_is_seeded_by_the_hash_of_its_parts_as_json():
    parts = [3, 2, 'a "quoted" ü', "augment"]
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    assert generator(*parts).initial_seed() == int.from_bytes(digest, "big") >> 1


def test_the_global_generator_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    permutation(10, seed=0, epoch=0, name="a")
    assert torch.equal(before, torch.get_rng_state())


def test_epochs_visit_every_sample_in_different_orders():
    orders = [permutation(50, seed=0, epoch=epoch, name="a").tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_fraction_is_the_hash_read_as_a_binary_fraction():
    digest = hashlib.blake2b(json.dumps(["a", "split"]).encode(), digest_size=8).hexdigest()
    assert fraction("a", "split") == pytest.approx(int(digest, 16) / 16**16)
