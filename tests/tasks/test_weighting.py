from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from task_cases import CASES
from torch.nn import functional as F

from omniformer.batch import collate
from omniformer.heads import ClassificationHead, MultiLabelHead
from omniformer.tasks import Classification, MultiLabelClassification
from omniformer.tasks.weighting import balancing, class_weights, positive

WEIGHTS = [0.3, 2.5, 0.9]
told = partial(class_weights, labels=("a", "b"), n=2, key="class_weights", balanced=lambda: [0.5, 2.0])


@pytest.mark.parametrize(
    ("weights", "found"),
    [(None, None), ("balanced", (0.5, 2.0)), ([1, 3], (1.0, 3.0)), ({"b": 3}, (1.0, 3.0)), ({"a": 0}, (0.0, 1.0))],
)
def test_weights_are_told_in_order_by_name_or_by_how_rare_classes_are(weights, found):
    assert told(weights) == found


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"class_weights=\[1.0\]: give 2 numbers from 0"),
        ([1.0, -1.0], "numbers from 0"),
        ([0, 0], "some are above 0"),
        ({"c": 2}, "class_weights: 'c' is none of the 2 classes: a, b"),
        ("even", "class_weights='even' is not known; choose 'balanced'"),
    ],
)
def test_weights_that_fit_no_classes_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        told(weights)


def test_balance_needs_to_know_the_samples():
    with pytest.raises(ValueError, match="needs to know the training samples"):
        told("balanced", balanced=None)


def test_balanced_weights_are_those_of_the_reference():
    reference = pytest.importorskip("sklearn.utils.class_weight")
    labels = [0] * 30 + [1] * 10 + [3] * 2
    theirs = reference.compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels).tolist()
    ours = balancing([30, 10, 0, 2])
    assert [ours[0], ours[1], ours[3]] == pytest.approx(theirs) and ours[2] == 1.0
    assert sum(n * weight for n, weight in zip([30, 10, 0, 2], ours, strict=True)) == pytest.approx(42)


def test_yes_and_no_count_alike_where_there_are_both():
    assert positive([(30, 10), (0, 5), (5, 0)]) == [3.0, 1.0, 1.0]


def test_the_loss_of_training_is_that_of_torch_with_weights():
    model, task = CASES["weighted classes"].build()
    task.label_smoothing = 0.0
    batch = collate(CASES["weighted classes"].samples[0])
    step = task.step(model.train(), batch, "it")
    expected = F.cross_entropy(model(batch, "it"), batch.targets["label"], weight=torch.tensor(WEIGHTS))
    torch.testing.assert_close(step.loss, expected)
    assert step.count == pytest.approx(0.3 + 0.9 + 2.5 + 0.9)


def shared(samples, n_classes=3):
    """The samples, and the same with shares of classes: of each of its own class and that of the next one."""
    labels = torch.stack([sample.targets["label"] for sample in samples])
    shares = torch.linspace(0, 1, len(samples))[:, None]
    soft = shares * F.one_hot(labels, n_classes) + (1 - shares) * F.one_hot(labels.roll(1), n_classes)
    mixed = [replace(sample, targets={"label": each}) for sample, each in zip(samples, soft, strict=True)]
    return labels, shares[:, 0], collate(mixed)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_shares_of_classes_is_that_of_each_class_by_its_share(weights, smoothing):
    model, task = CASES["weighted classes"].build()
    task.label_smoothing, task.class_weights = smoothing, weights
    labels, shares, batch = shared(CASES["weighted classes"].samples[0])
    step = task.step(model.train(), batch, "it")
    each = partial(F.cross_entropy, model(batch, "it"), reduction="none", label_smoothing=smoothing)
    weigh = torch.ones(3) if weights is None else torch.tensor(weights)
    own, other = shares * weigh[labels], (1 - shares) * weigh[labels.roll(1)]
    expected = (own * each(labels) + other * each(labels.roll(1))).sum() / (own + other).sum()
    torch.testing.assert_close(step.loss, expected)
    assert step.count == task.count(batch) == pytest.approx(float((own + other).sum()))


def test_metrics_of_shares_of_classes_count_the_largest():
    model, task = CASES["weighted classes"].build()
    labels, shares, batch = shared(CASES["weighted classes"].samples[0])
    step = task.step(model.eval(), batch, "it")
    assert step.targets.tolist() == torch.where(shares > 0.5, labels, labels.roll(1)).tolist()
    metrics = task.metrics()
    task.update(metrics, step, batch)
    assert metrics["accuracy"].compute() == (step.outputs.argmax(-1) == step.targets).float().mean()


def test_whole_shares_are_classes():
    model, task = CASES["weighted classes"].build()
    plain = collate(CASES["weighted classes"].samples[0])
    whole = replace(plain, targets={"label": F.one_hot(plain.targets["label"], 3).float()})
    for mode in (model.train(), model.eval()):
        a, b = task.step(mode, plain, "it"), task.step(mode, whole, "it")
        torch.testing.assert_close(a.loss, b.loss)
        assert a.count == pytest.approx(b.count) and a.targets.tolist() == b.targets.tolist()


def test_the_loss_of_questions_is_that_of_torch_with_weights_of_yes():
    model, task = CASES["weighted questions"].build()
    batch = collate(CASES["weighted questions"].samples[0])
    labels = batch.targets["labels"]
    known = ~labels.isnan()
    every = F.binary_cross_entropy_with_logits(
        model(batch, "it"), labels.nan_to_num(), pos_weight=torch.tensor([0.3, 2.5]), reduction="none"
    )
    torch.testing.assert_close(task.step(model.train(), batch, "it").loss, every[known].mean())


def test_a_batch_of_classes_that_weigh_nothing_teaches_nothing():
    model, _ = CASES["weighted classes"].build()
    task = Classification(head=model.heads["it"], n_classes=3, class_weights=[0.0, 1.0, 0.0])
    batch = collate([each for each in CASES["weighted classes"].samples[0] if each.targets["label"] != 1])
    step = task.step(model.train(), batch, "it")
    step.loss.backward()
    assert (step.loss, step.count, task.count(batch)) == (0, 0, 0)
    assert all(not parameter.grad.any() for parameter in model.parameters())


def test_tasks_take_what_the_data_count_and_how_classes_are_called():
    head, questions = ClassificationHead(d_model=8, n_classes=2), MultiLabelHead(d_model=8, n_classes=2)
    balanced = Classification(head=head, n_classes=2, class_weights="balanced", class_counts=lambda: [30, 10])
    assert balanced.class_weights == pytest.approx((2 / 3, 2.0))
    named = MultiLabelClassification(head=questions, n_classes=2, pos_weight={"wet": 4}, labels=["cold", "wet"])
    assert named.pos_weight == (1.0, 4.0)
    rare = MultiLabelClassification(
        head=questions, n_classes=2, pos_weight="balanced", answer_counts=lambda: [(9, 3), (2, 2)]
    )
    assert rare.pos_weight == (3.0, 1.0)
