"""Each simple method answers what it should, and only that; the trivial one answers everything."""

import pytest
import torch

from omniformer.baselines.every import EVERY
from omniformer.baselines.graphs import GIN, BagOfNodes
from omniformer.baselines.nodes import GCN, NodeFeatures
from omniformer.baselines.pictures import NearestPicture, Pixels, SmallCNN
from omniformer.baselines.series import Values
from omniformer.baselines.sounds import BandStatistics, LogMel
from omniformer.baselines.texts import Letters, Words
from omniformer.baselines.trivial import Trivial


@pytest.fixture
def few_steps(monkeypatch):
    for module in ("pictures", "graphs"):
        monkeypatch.setattr(f"omniformer.baselines.{module}.steps_for", lambda samples, passes, most: 30)
    monkeypatch.setattr("omniformer.baselines.nodes._STEPS", 30)


def fitting(problem):
    return [kind for kind in EVERY if kind().fits(problem)]


def score(method, problem, metric="accuracy"):
    torch.manual_seed(0)
    return problem.scores("test", method().answers(problem)["test"])[metric]


def test_methods_go_by_what_samples_are_given_and_what_is_asked(texts, pictures, sounds, series, graphs, nodes):
    assert fitting(texts()) == [Trivial, Words, Letters]
    assert fitting(pictures()) == [Trivial, Pixels, NearestPicture, SmallCNN]
    assert fitting(pictures("value")) == [Trivial, Pixels, SmallCNN]
    assert fitting(sounds) == [Trivial, LogMel, BandStatistics]
    assert fitting(series()) == [Trivial, Values]
    assert fitting(series(gap=True)) == [Trivial]
    assert fitting(graphs()) == [Trivial, BagOfNodes, GIN]
    assert fitting(nodes) == [Trivial, NodeFeatures, GCN]


@pytest.mark.parametrize("method", [Words, Letters])
def test_texts(method, texts):
    assert score(method, texts()) == 1.0
    assert score(method, texts("labels"), "auroc") == 1.0
    assert score(method, texts("value"), "rmse") < 1.0 < score(Trivial, texts("value"), "rmse")


@pytest.mark.quick(2)
@pytest.mark.parametrize("method", [Pixels, NearestPicture, SmallCNN])
def test_pictures(method, pictures, few_steps):
    assert score(method, pictures()) == 1.0


def test_numbers_and_questions_of_pictures(pictures):
    assert score(Pixels, pictures("labels"), "auroc") == 1.0
    assert score(Pixels, pictures("value"), "rmse") < 1.0


@pytest.mark.parametrize("method", [LogMel, BandStatistics])
def test_sounds(method, sounds):
    assert score(method, sounds) == 1.0


def test_statistics_do_not_know_when_a_sound_is_heard():
    frames = torch.rand(30, 32, generator=torch.Generator().manual_seed(0))
    later = torch.cat([frames[:1].expand(5, -1), frames[:-5]])
    assert BandStatistics().of_frames(frames.flip(0)).allclose(BandStatistics().of_frames(frames), atol=1e-5)
    assert not LogMel().of_frames(later).allclose(LogMel().of_frames(frames), atol=1e-2)
    assert BandStatistics().of_frames(frames[:1]).isfinite().all()


def test_series(series):
    assert score(Values, series()) == 1.0
    assert score(Values, series("value"), "rmse") < 0.1


@pytest.mark.quick(1)
@pytest.mark.parametrize("method", [BagOfNodes, GIN])
def test_graphs(method, graphs, few_steps):
    assert score(method, graphs("value"), "rmse") < 1.4 < score(Trivial, graphs("value"), "rmse")


def test_nodes_are_told_by_their_neighbours_alone(nodes, few_steps):
    assert score(GCN, nodes) == 1.0
    assert score(NodeFeatures, nodes) <= 0.5


def test_the_trivial_answers_are_those_of_training(texts):
    assert score(Trivial, texts()) == 0.5
    assert score(Trivial, texts("value"), "mae") == pytest.approx(1.5)
