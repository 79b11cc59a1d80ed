"""What a mixture of tasks is compared by, and what follows an optimizer step."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from tiny_runs import LM, numbers, run, state
from torch import nn

from omniformer.heads import ClassificationHead, MultiLabelHead, NextTokenHead
from omniformer.parallel.tensors import marks
from omniformer.tasks import CausalLM, Classification, MultiLabelClassification, TrainingModule

NAN = float("nan")


def classes():
    return Classification(head=ClassificationHead(d_model=8, n_classes=3), n_classes=3)


def questions():
    return MultiLabelClassification(head=MultiLabelHead(d_model=8, n_classes=3), n_classes=3)


def words(**options):
    return CausalLM(head=NextTokenHead(d_model=8, vocab_size=9), **options)


def module(**tasks):
    return TrainingModule(model=nn.Module(), tasks=tasks)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("tasks", "metric", "mode"),
    [
        ({"a": classes()}, "val/accuracy", "max"),
        ({"a": words()}, "val/loss", "min"),
        ({"a": words(counts_bytes=True)}, "val/bits_per_byte", "min"),
        ({"a": classes(), "b": classes()}, "val/accuracy", "max"),
        ({"a": classes(), "b": questions()}, "val/loss", "min"),
        ({"a": words(), "b": words()}, "val/loss", "min"),
    ],
)
def test_members_are_compared_by_the_metric_that_they_share_or_else_by_their_mean_loss(tasks, metric, mode):
    made = module(**tasks)
    assert (made.watched.metric, made.watched.mode) == (metric, mode)
    assert made.reported("val")[metric] == mode
    assert bool(made.watched.why) == (len(tasks) > 1)


def test_members_that_share_no_metric_are_named_with_theirs():
    assert "a accuracy, b auroc" in module(a=classes(), b=questions()).watched.why


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0.5, 1.0), (0.7, 3.0)], {"val/accuracy": 0.6, "val/loss": 2.0}),
        ([(0.5, 1.0), (NAN, 3.0)], {"val/accuracy": 0.5, "val/loss": 2.0}),
        ([(NAN, 1.0), (NAN, 3.0)], {"val/loss": 2.0}),
    ],
)
def test_what_members_share_is_reported_as_their_mean(found, expected, monkeypatch):
    made, told = module(a=classes(), b=classes()), {}
    values = dict(zip("ab", found, strict=True))
    monkeypatch.setattr(
        made,
        "_found",
        lambda stage, name: {
            key: torch.tensor(value) for key, value in zip(("accuracy", "loss"), values[name], strict=True)
        },
    )
    monkeypatch.setattr(made, "log", lambda name, value, **_: told.__setitem__(name, float(value)))
    made._trainer = SimpleNamespace(callback_metrics={})
    made._report("val")
    assert {name: told[name] for name in told if name.startswith("val/")} == pytest.approx(expected)
    assert ("val/accuracy" in made.undefined) == ("val/accuracy" not in expected)


@pytest.mark.slow
def test_experts_are_evened_out_after_each_optimizer_step_and_what_was_moved_is_saved(tmp_path):
    routing = "{_target_: omniformer.core.routing.SigmoidRouting, _partial_: true, step: STEP}"
    experts = [*LM, "core/feedforward=experts", "core.feedforward.n_experts=4"]
    for step in (0.25, 0):
        chosen = f"+core.feedforward.routing={routing.replace('STEP', str(step))}"
        output = run(tmp_path / str(step), *experts, chosen)
        offsets = [each for name, each in state(output).items() if name.endswith("routing.offset")]
        n_steps = numbers(output)["steps"]
        assert offsets and all(bool(each.any()) == bool(step) for each in offsets)
        for each in offsets if step else ():
            moves = each / step
            assert torch.equal(moves, moves.round()) and moves.abs().max() <= n_steps


def test_a_fused_optimizer_is_clipped_in_bfloat16_which_scales_no_losses():
    part = module(classes=classes())
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    part._trainer = SimpleNamespace(precision_plugin=MixedPrecision("bf16-mixed", "cpu"))  # pyright: ignore[reportAttributeAccessIssue]
    part.configure_gradient_clipping(torch.optim.AdamW([weight], fused=True), 1.0)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))


def test_a_norm_that_is_known_is_not_computed_anew_and_holds_for_one_step():
    part = module(classes=classes())
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    part._trainer = SimpleNamespace(precision_plugin=MixedPrecision("bf16-mixed", "cpu"))  # pyright: ignore[reportAttributeAccessIssue]
    optimizer = torch.optim.AdamW([weight], fused=True)
    part.gradient_norms = {marks([weight.grad]): torch.tensor(10.0)}
    part.configure_gradient_clipping(optimizer, 1.0)
    torch.testing.assert_close(weight.grad, torch.tensor([0.3, 0.4]))
    part.configure_gradient_clipping(optimizer, 0.25)
    torch.testing.assert_close(weight.grad, torch.tensor([0.15, 0.2]))


def test_gradients_that_somebody_has_changed_are_measured_anew():
    part = module(classes=classes())
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    part._trainer = SimpleNamespace(precision_plugin=MixedPrecision("bf16-mixed", "cpu"))  # pyright: ignore[reportAttributeAccessIssue]
    part.gradient_norms = {marks([weight.grad]): torch.tensor(5.0)}
    weight.grad.mul_(2)
    part.configure_gradient_clipping(torch.optim.AdamW([weight], fused=True), 1.0)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))
