"""A loss or gradient that is not finite never reaches the weights."""

import logging

import pytest
import torch

from omniformer.parallel.tensors import marks
from omniformer.training.finite import Finite, NonFiniteError


def at_step(step, what):
    """Spoils the loss or gradients of one training batch."""

    def spoil(module, batch):
        if module.trainer.global_step == step:
            return what(module)
        return None

    return spoil


def nan_loss(module):
    return float("nan")


def infinite_gradient(module):
    """The loss stays finite; the gradient of one weight does not."""
    module.net[0].weight.register_hook(lambda grad: grad * float("inf"))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_nan_loss_stops_the_run_in_that_step_with_the_weights_untouched(
    regressor, make_loader, make_trainer, accumulate
):
    good = regressor(accumulate=accumulate)
    make_trainer(Finite(), max_steps=3, accumulate_grad_batches=accumulate).fit(good, make_loader(), make_loader())
    module = regressor(accumulate=accumulate)
    module.before_step = at_step(3, nan_loss)
    trainer = make_trainer(Finite(), accumulate_grad_batches=accumulate)
    with pytest.raises(NonFiniteError, match=r"not finite at step 3.*member 'points', samples s"):
        trainer.fit(module, make_loader(), make_loader())
    torch.testing.assert_close(module.state_dict(), good.state_dict(), rtol=0, atol=0)


def test_message_names_the_samples_of_the_batch(regressor, make_loader, make_trainer):
    module = regressor()
    module.before_step = at_step(2, nan_loss)
    with pytest.raises(NonFiniteError) as caught:
        make_trainer(Finite()).fit(module, make_loader(), make_loader())
    ids, _, _ = module.seen[-1]
    assert f"samples {', '.join(ids)}" in str(caught.value)
    assert "optim.lr" in str(caught.value)


def test_only_the_guilty_member_is_named(regressor, make_loader, make_trainer):
    class TwoMembers(regressor):
        def training_step(self, batch, batch_idx):
            batch["others"] = batch["points"]
            self.member_losses = {"points": torch.tensor(1.0), "others": torch.tensor(float("inf"))}
            return self.net[0].weight.sum() * float("inf")

    with pytest.raises(NonFiniteError) as caught:
        make_trainer(Finite()).fit(TwoMembers(), make_loader(), make_loader())
    assert "member 'others'" in str(caught.value)
    assert "'points'" not in str(caught.value)


def test_infinite_gradient_of_a_finite_loss_stops_the_run(regressor, make_loader, make_trainer):
    module = regressor()
    module.before_step = at_step(1, infinite_gradient)
    with pytest.raises(NonFiniteError, match=r"gradient norm (nan|inf); every loss is finite"):
        make_trainer(Finite()).fit(module, make_loader(), make_loader())
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_skipped_step_leaves_weights_and_momentum_alone(regressor, make_loader, make_trainer, caplog):
    before, after = [], []
    module = regressor()
    module.before_step = at_step(3, nan_loss)
    module.on_before_zero_grad = lambda optimizer: before.append(module.net[0].weight.detach().clone())
    with caplog.at_level(logging.WARNING):
        make_trainer(Finite(max_skips=1), gradient_clip_val=1.0).fit(module, make_loader(), make_loader())
    after = before[4]
    torch.testing.assert_close(before[3], after, rtol=0, atol=0)
    assert not torch.equal(before[4], before[5])
    assert "step skipped (1 of at most 1)" in caplog.text
    assert len(module.seen) == 9


def test_limit_of_skips_holds_for_the_whole_run(regressor, make_loader, make_trainer):
    module = regressor()
    module.before_step = lambda module, batch: float("nan") if module.trainer.global_step in (2, 5) else None
    finite = Finite(max_skips=1)
    with pytest.raises(NonFiniteError, match=r"step 5.*Stopped after 1 skipped steps"):
        make_trainer(finite).fit(module, make_loader(), make_loader())
    again = Finite(max_skips=1)
    again.load_state_dict(Finite(max_skips=1).state_dict() | {"skipped": 1})
    module = regressor()
    module.before_step = at_step(2, nan_loss)
    with pytest.raises(NonFiniteError, match="step 2"):
        make_trainer(again).fit(module, make_loader(), make_loader())


def test_spike_is_logged_with_its_samples(regressor, make_loader, make_trainer, caplog):
    module = regressor(epochs=10)
    module.before_step = lambda module, batch: 1000.0 if module.trainer.global_step == 25 else None
    with caplog.at_level(logging.WARNING):
        make_trainer(Finite(), max_epochs=9).fit(module, make_loader(), make_loader())
    (record,) = [record.getMessage() for record in caplog.records if "spike" in record.getMessage()]
    assert record.startswith("loss spike at step 25: ")
    assert ", ".join(module.seen[25][0]) in record


def test_bad_settings_are_told():
    with pytest.raises(ValueError, match="max_skips=-1"):
        Finite(max_skips=-1)
    with pytest.raises(ValueError, match=r"spike_factor=1\.0"):
        Finite(spike_factor=1.0)


def test_a_module_that_clips_finds_the_norm_of_its_gradients(regressor, make_loader, make_trainer):
    module = regressor()
    module.gradient_norms = {}
    make_trainer(Finite(), max_steps=1).fit(module, make_loader(), make_loader())
    ((of, norm),) = module.gradient_norms.items()
    gradients = [each.grad for each in module.parameters()]
    assert of == marks(gradients)
    torch.testing.assert_close(norm, torch.cat([each.flatten() for each in gradients]).norm())
