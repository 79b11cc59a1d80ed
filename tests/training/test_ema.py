"""The average of the weights is what is validated, saved and kept."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from omniformer.training.ema import EMA


def test_average_follows_the_formula(regressor, make_loader, make_trainer):
    module, history = regressor(), []
    module.on_train_batch_end = lambda *_: history.append(module.net[0].weight.detach().clone())
    make_trainer(EMA(decay=0.5)).fit(module, make_loader(), make_loader())
    average = history[0]
    for n, weights in enumerate(history[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * weights
    torch.testing.assert_close(module.net[0].weight.detach(), average)


def test_validation_and_checkpoint_use_the_average_and_training_does_not(
    regressor, make_loader, make_trainer, tmp_path
):
    plain = regressor()
    make_trainer().fit(plain, make_loader(), make_loader(shuffle=False))
    module, validated = regressor(), []
    module.on_validation_start = lambda: None
    module.on_validation_batch_start = lambda *_: validated.append(module.net[0].weight.detach().clone())
    best = ModelCheckpoint(dirpath=tmp_path, filename="{step}", save_top_k=-1, save_on_train_epoch_end=False)
    trainer = make_trainer(best, EMA(decay=0.9))
    trainer.fit(module, make_loader(), make_loader(shuffle=False))
    assert module.seen == plain.seen
    last = torch.load(tmp_path / "step=9.ckpt", weights_only=True)
    for weights in (validated[-1], module.net[0].weight.detach()):
        torch.testing.assert_close(weights, last["state_dict"]["net.0.weight"], rtol=0, atol=0)
    torch.testing.assert_close(last["current_model_state"], plain.state_dict(), rtol=0, atol=0)


def test_test_of_the_best_checkpoint_uses_its_average(regressor, make_loader, make_trainer, tmp_path):
    module, tested = regressor(), []
    best = ModelCheckpoint(dirpath=tmp_path, filename="best", monitor="val/loss", save_on_train_epoch_end=False)
    trainer = make_trainer(best, EMA(decay=0.9))
    trainer.fit(module, make_loader(), make_loader(shuffle=False))
    module.on_test_start = lambda: tested.append(module.net[0].weight.detach().clone())
    (results,) = trainer.test(module, make_loader(shuffle=False), ckpt_path=best.best_model_path, verbose=False)
    saved = torch.load(best.best_model_path, weights_only=True)["state_dict"]["net.0.weight"]
    torch.testing.assert_close(tested[0], saved, rtol=0, atol=0)
    assert results["test/loss"] == pytest.approx(float(best.best_model_score), rel=1e-5)


def test_bad_decay_is_told():
    with pytest.raises(ValueError, match=r"decay=1\.0"):
        EMA(decay=1.0)
