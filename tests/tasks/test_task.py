"""What every task keeps: nothing answered is nothing learned, and how a split is cut into batches changes no number."""

import math
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from task_cases import CASES, TOKENIZERS, Case, next_id

from omniformer import tasks
from omniformer.batch import Batch, Sample, collate
from omniformer.data.workers import emptied
from omniformer.heads import CTCHead, Head, NextTokenHead
from omniformer.tasks import (
    CTC,
    CausalLM,
    Classification,
    ConditionalGeneration,
    ConsistentTokenClassification,
    TrainingModule,
)
from omniformer.tasks.task import Task


def test_no_task_is_forgotten():
    every = {each for each in vars(tasks).values() if isinstance(each, type) and issubclass(each, Task)} - {Task}
    assert {type(case.build()[1]) for case in CASES.values()} == every


def test_a_head_of_another_class_is_told_at_once():
    ctc = partial(CTCHead, d_model=16, vocab_size=3)
    assert CausalLM.head_type is ConditionalGeneration.head_type is NextTokenHead
    with pytest.raises(ValueError, match="CTC learns with a CTCHead, received a NextTokenHead; choose another head"):
        CTC(head=next_id(), tokenizers=TOKENIZERS)
    with pytest.raises(ValueError, match="ConditionalGeneration learns with a NextTokenHead, received a CTCHead"):
        ConditionalGeneration(head=ctc(), tokenizers=TOKENIZERS)
    assert Classification(head=ctc(), n_classes=4).head_type is Head  # which asks for outputs alone


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            partial(Classification, n_classes=4, label_smoothing=1.0),
            "label_smoothing=1.0 must be at least 0 and below 1",
        ),
        (partial(CausalLM, label_smoothing=2.0), "label_smoothing=2.0 must be at least 0 and below 1"),
        (partial(Classification, n_classes=4, loss_weight=-1.0), "loss_weight=-1.0 must be at least 0"),
        (partial(ConsistentTokenClassification, n_classes=4, consistency=-1.0), "consistency=-1.0 must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused_by_the_classes_too(make, message):
    with pytest.raises(ValueError, match=message):
        make(head=next_id())


def nothing_in(case: Case) -> list[Batch]:
    return [emptied(collate(case.samples[0])), *([collate(case.samples[1])] if case.samples[1] else [])]


@pytest.mark.parametrize("name", CASES)
def test_a_batch_in_which_nothing_is_answered_teaches_nothing(name):
    model, task = CASES[name].build()
    for batch in nothing_in(CASES[name]):
        model.zero_grad(set_to_none=True)
        step = task.step(model.train(), batch, "it")
        step.loss.backward()
        assert step.loss.item() == 0
        assert step.count == 0
        without = [each for each, parameter in model.named_parameters() if parameter.grad is None]
        assert not without
        assert all(not parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("name", CASES)
def test_what_a_step_counts_is_known_before_any_model_reads_the_batch(name):
    answered, without = CASES[name].samples
    model, task = CASES[name].build()
    cuts = [answered, answered[:1], answered[1:3], answered[2:], [*answered, *without], *([without] if without else [])]
    for batch in [*map(collate, cuts), *nothing_in(CASES[name])]:
        assert task.count(batch) == task.step(model.train(), batch, "it").count


def measured(case: Case, batches: Sequence[list[Sample]], stage: str = "test") -> dict[str, float]:
    """What a stage reports of these batches, by the module's own steps."""
    model, task = case.build()
    module = TrainingModule(model=model.eval(), tasks={"it": task})
    alone = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
    module._trainer = SimpleNamespace(strategy=alone)
    with torch.no_grad():
        for samples in batches:
            module._measure(stage, {"it": collate(list(samples))})
        return {label: float(value) for label, value in module._found(stage, "it").items()}


@pytest.mark.quick(6)
@pytest.mark.parametrize("name", CASES)
def test_numbers_do_not_depend_on_how_the_split_is_cut_into_batches(name):
    answered, without = CASES[name].samples
    whole = measured(CASES[name], [answered])
    assert math.isfinite(whole["loss"])
    for batches in ([[each] for each in answered], [answered[:3], *([without] if without else []), answered[3:]]):
        assert measured(CASES[name], batches) == pytest.approx(whole, rel=1e-5, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("stage", ["val", "test"])
@pytest.mark.parametrize("name", CASES)
def test_a_stage_reports_what_the_task_says_and_so_the_metric_that_it_watches(name, stage):
    task = CASES[name].build()[1]
    found = measured(CASES[name], [CASES[name].samples[0]], stage)
    assert found.keys() == task.reported(stage).keys()
    assert math.isfinite(found[task.watched.metric])
    assert task.reported(stage)[task.watched.metric] == task.watched.mode


def test_every_number_that_is_a_share_or_a_score_says_that_more_is_better():
    better = {key: mode for case in CASES.values() for key, mode in case.build()[1].reported("test").items()}
    shares = ("accuracy", "f1", "recall", "auroc", "bleu", "chrf", "explained")
    more = {key for key in better if any(word in key for word in shares) and better[key]}
    assert {better[key] for key in more} == {"max"}
    assert all(better[key] == "min" for key in ("loss", "rmse", "mae", "wer", "cer", "perplexity", "bits_per_dim"))


@pytest.mark.parametrize("name", ["classification", "weighted classes", "tokens", "writing"])
def test_reported_losses_contain_no_smoothing(name):
    case = CASES[name]
    model, task = case.build()
    batch = collate(case.samples[0])
    torch.testing.assert_close(
        task.step(model.eval(), batch, "it").loss, _plain(case).step(model, batch, "it").loss, rtol=0, atol=0
    )
    assert task.step(model.train(), batch, "it").loss != task.step(model.eval(), batch, "it").loss


@pytest.mark.parametrize("name", ["classes", "tokens", "questions"])
def test_reported_losses_know_no_weights(name):
    model, task = CASES[f"weighted {name}"].build()
    plain = CASES[{"classes": "classification", "tokens": "tokens", "questions": "multi-label"}[name]].build()[1]
    batch = collate(CASES[f"weighted {name}"].samples[0])
    torch.testing.assert_close(
        task.step(model.eval(), batch, "it").loss, plain.step(model, batch, "it").loss, rtol=0, atol=0
    )
    assert task.step(model.train(), batch, "it").loss != task.step(model.eval(), batch, "it").loss


def _plain(case: Case) -> Task:
    task = case.build()[1]
    task.label_smoothing = 0.0
    return task
