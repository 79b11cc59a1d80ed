import networkx
import pytest
import torch

from omniformer.data.sets.karate import KarateClub

SPLITS = ("train", "val", "test")


@pytest.fixture
def raws():
    return {name: KarateClub().split(name)[0] for name in SPLITS}


def test_every_member_counts_in_exactly_one_split(raws):
    masks = torch.stack([raws[name].token_targets["mask"] for name in SPLITS])
    assert masks.sum(0).tolist() == [1] * 34
    assert masks.sum(1).tolist() == [4, 10, 20]


def test_training_knows_one_member_of_each_group(raws):
    targets = raws["train"].token_targets
    assert sorted(targets["label"][targets["mask"]].tolist()) == [0, 1, 2, 3]


def test_friendships_are_those_of_zachary(raws):
    ours = {tuple(sorted(edge)) for edge in raws["test"].contents["graph"]["edges"].tolist()}
    assert ours == {tuple(sorted(edge)) for edge in networkx.karate_club_graph().edges()}


def test_splits_differ_in_the_mask_alone(raws):
    for name in ("val", "test"):
        assert torch.equal(raws[name].token_targets["label"], raws["train"].token_targets["label"])
        assert torch.equal(raws[name].contents["graph"]["edges"], raws["train"].contents["graph"]["edges"])
