"""Accumulated gradients are the mean of the batches that they are of."""

import pytest
import torch

from omniformer.training.accumulation import ShortAccumulation


@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_last_step_of_an_epoch_moves_the_weights_as_a_whole_one(regressor, make_loader, make_trainer, clip):
    """One batch of four that were asked for moves the weights as it does where none is accumulated."""
    moved = []
    for accumulate in (1, 4):
        module = regressor(batches=1, epochs=1, dropout=0.0)
        module.configure_optimizers = lambda module=module: torch.optim.SGD(module.parameters(), lr=1.0)
        before = [each.detach().clone() for each in module.parameters()]
        trainer = make_trainer(
            ShortAccumulation(), accumulate_grad_batches=accumulate, max_epochs=1, gradient_clip_val=clip
        )
        trainer.fit(module, make_loader(4), make_loader(4))
        moved.append([now.detach() - then for now, then in zip(module.parameters(), before, strict=True)])
    torch.testing.assert_close(moved[1], moved[0])
    assert any(each.any() for each in moved[0])


def test_whole_steps_are_left_alone_and_short_ones_are_means(regressor, make_loader, make_trainer):
    """Three batches in steps of two: the mean of the first two, then the third."""
    gradients = {1: [], 2: []}
    for accumulate, into in gradients.items():
        module = regressor(dropout=0.0)
        module.configure_optimizers = lambda module=module: torch.optim.SGD(module.parameters(), lr=0.0)
        module.on_before_optimizer_step = lambda optimizer, module=module, into=into: into.append(
            [each.grad.clone() for each in module.parameters()]
        )
        trainer = make_trainer(ShortAccumulation(), accumulate_grad_batches=accumulate, max_epochs=1)
        trainer.fit(module, make_loader(shuffle=False), make_loader())
    first, second, third = gradients[1]
    torch.testing.assert_close(gradients[2], [[(a + b) / 2 for a, b in zip(first, second, strict=True)], third])
