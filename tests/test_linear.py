"""Linear models of fixed features equal those of a reference library; the strength is the one that validates best."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn import functional as F

from omniformer.linear import fit


@pytest.fixture
def x():
    return torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1, 2.0, 1.0]) + 3


def standard(x):
    return ((x - x.mean(0)) / x.std(0, correction=0)).numpy()


def test_classes_as_by_scikit_learn(x):
    label = torch.from_numpy(standard(x))[:, :3].argmax(-1)
    model, _ = fit(x, label, "label", 3, better=lambda model: 0.0, strengths=(0.01,))
    reference = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-8, max_iter=1000).fit(standard(x), label.numpy())
    wanted = torch.from_numpy(reference.predict_proba(standard(x))).float()
    torch.testing.assert_close(model(x).softmax(-1), wanted, atol=2e-3, rtol=0)


def test_of_many_features_that_tell_nothing_next_to_nothing_is_believed():
    drawn = torch.Generator().manual_seed(0)
    rows, label = torch.randn(500, 300, generator=drawn), torch.randint(2, (500,), generator=drawn)

    def loss(model):
        return float(F.cross_entropy(model(rows[100:]), label[100:]))

    model, _ = fit(rows[:100], label[:100], "label", 2, better=lambda model: -loss(model))
    assert loss(model) < 0.8  # a coin has 0.69


def test_numbers_as_by_scikit_learn_each_by_the_samples_that_know_it(x):
    values = torch.stack([x @ torch.ones(5), x[:, 0]], 1)
    values[::3, 1] = float("nan")
    model, _ = fit(x, values, "value", 2, better=lambda model: 0.0, strengths=(0.1,))
    known = ~values[:, 1].isnan()
    for i, rows in enumerate((slice(None), known)):
        n = len(x[rows])
        reference = Ridge(alpha=0.1 * n).fit(standard(x)[rows], values[rows, i].numpy())
        wanted = torch.from_numpy(reference.predict(standard(x))).float()
        torch.testing.assert_close(model(x)[:, i], wanted, atol=1e-3, rtol=1e-3)


def test_questions_without_an_answer_do_not_count(x):
    asked = (x[:, :1] > 3).float()
    asked[:30] = float("nan")
    model, _ = fit(x, asked, "labels", 1, better=lambda model: 0.0)
    assert ((model(x[30:])[:, 0] > 0) == (asked[30:, 0] > 0.5)).float().mean() > 0.95


def test_the_strength_is_the_best_one_and_of_equals_the_strongest_penalty(x):
    label = (x[:, 0] > 3).long()
    _, chosen = fit(x, label, "label", 2, better=lambda model: float(model.weight.norm()))
    assert chosen == 1e-4
    _, chosen = fit(x, label, "label", 2, better=lambda model: 0.0)
    assert chosen == 1.0


def test_numbers_that_no_sample_knows_stay_at_zero(x):
    targets = torch.stack([x[:, 0], torch.full((len(x),), float("nan"))], 1)
    model, _ = fit(x, targets, "value", 2, better=lambda model: 0.0)
    assert model(x)[:, 1].tolist() == [0.0] * len(x) and not model(x).isnan().any()
