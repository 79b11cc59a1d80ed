"""A run resumed from any of its checkpoints is the run that was never interrupted, bit for bit."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from omniformer.training.checkpoints import RecentCheckpoint
from omniformer.training.ema import EMA


def everything_saved(folder):
    return RecentCheckpoint(dirpath=str(folder), every_minutes=0.0, keep=1000)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def run(regressor, make_loader, make_trainer, folder, *, accumulate, resume=None, extra=(), **options):
    module = regressor(accumulate=accumulate)
    # Few checks of equality would notice it if the module's construction left the generator in the same state.
    torch.manual_seed(99 if resume else 1)
    trainer = make_trainer(everything_saved(folder), *extra, accumulate_grad_batches=accumulate, **options)
    trainer.fit(module, make_loader(), make_loader(shuffle=False), ckpt_path=resume)
    return module, trainer


OPTIONS = [
    {"accumulate": 1},
    {"accumulate": 2},
    {"accumulate": 1, "val_check_interval": 2},
    {"accumulate": 2, "val_check_interval": 1},
    {"accumulate": 1, "check_val_every_n_epoch": 2},
    {"accumulate": 1, "max_steps": 8},
    {"accumulate": 1, "limit_val_batches": 0},
]


def every_resume_equals_the_uninterrupted_run(regressor, make_loader, make_trainer, folder, options):
    full, _ = run(regressor, make_loader, make_trainer, folder / "full", **options)
    checkpoints = sorted((folder / "full").glob("*.ckpt"))
    assert len(checkpoints) >= 5
    for i, checkpoint in enumerate(checkpoints):
        part, _ = run(regressor, make_loader, make_trainer, folder / str(i), resume=checkpoint, **options)
        step = int(checkpoint.stem.removeprefix("step-"))
        # Three batches an epoch, the last of which makes do with a step of its own when two are accumulated.
        done = step if options["accumulate"] == 1 else [0, 2, 3, 5, 6, 8, 9][step]
        assert part.seen == full.seen[done:], checkpoint.name
        torch.testing.assert_close(weights(part), weights(full), rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_resumed_run_equals_uninterrupted_run_from_every_checkpoint(
    regressor, make_loader, make_trainer, tmp_path, options
):
    every_resume_equals_the_uninterrupted_run(regressor, make_loader, make_trainer, tmp_path, options)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("interval", [1.0, 1])
def test_run_resumed_from_a_checkpoint_after_a_validation_equals_the_uninterrupted_one(
    regressor, make_loader, make_trainer, tmp_path, accumulate, interval
):
    """As `callbacks.best` saves them: also between the two batches of one optimizer step."""

    def after_validation(folder):
        return [ModelCheckpoint(dirpath=folder, filename="{step}", save_top_k=-1, save_on_train_epoch_end=False)]

    options = {"accumulate": accumulate, "val_check_interval": interval}
    extra = after_validation(tmp_path / "saved")
    full, _ = run(regressor, make_loader, make_trainer, tmp_path / "full", extra=extra, **options)
    checkpoints = sorted((tmp_path / "saved").glob("*.ckpt"))
    assert len(checkpoints) == (3 if isinstance(interval, float) else 9 - 3 * (accumulate - 1))
    for i, checkpoint in enumerate(checkpoints):
        extra = after_validation(tmp_path / "saved")
        part, _ = run(
            regressor, make_loader, make_trainer, tmp_path / str(i), resume=checkpoint, extra=extra, **options
        )
        assert part.seen == full.seen[len(full.seen) - len(part.seen) :], checkpoint.name
        torch.testing.assert_close(weights(part), weights(full), rtol=0, atol=0)


def test_resumed_run_validates_as_often_as_the_uninterrupted_one(regressor, make_loader, make_trainer, tmp_path):
    def losses(module):
        found = []
        module.on_validation_end = lambda: found.append(float(module.trainer.callback_metrics["val/loss"]))
        return found

    def fit(folder, resume=None):
        module = regressor()
        found = losses(module)
        trainer = make_trainer(everything_saved(folder), val_check_interval=2)
        trainer.fit(module, make_loader(), make_loader(shuffle=False), ckpt_path=resume)
        return found

    full = fit(tmp_path / "full")
    assert len(full) == 3
    for i, checkpoint in enumerate(sorted((tmp_path / "full").glob("*.ckpt"))):
        step = int(checkpoint.stem.removeprefix("step-"))
        # A checkpoint of a step that a validation follows is written before that validation begins.
        done = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3][step]
        assert fit(tmp_path / str(i), checkpoint) == full[done:], checkpoint.name


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("after", [False, True], ids=["before validations", "after validations"])
def test_a_resumed_run_that_is_resumed_again_validates_once_each_time(
    regressor, make_loader, make_trainer, tmp_path, after
):
    """Several validations an epoch: Lightning counts the batches of all of them, over resumes too."""

    def fit(folder, resume=None):
        module, steps = regressor(), []
        module.on_validation_end = lambda: steps.append(module.trainer.global_step)
        best = ModelCheckpoint(
            dirpath=folder / "after", filename="{step}", save_top_k=-1, save_on_train_epoch_end=False
        )
        trainer = make_trainer(everything_saved(folder), best, val_check_interval=1)
        trainer.fit(module, make_loader(), make_loader(shuffle=False), ckpt_path=resume)
        return steps

    assert fit(tmp_path / "full") == list(range(1, 10))
    assert fit(tmp_path / "once", tmp_path / "full" / "step-00000001.ckpt") == list(range(1, 10))
    for step in (2, 3, 4):  # within the epoch, at its end, in the next
        resume = tmp_path / "once" / ("after/step={}.ckpt" if after else "step-{:08d}.ckpt").format(step)
        assert fit(tmp_path / f"twice{step}", resume) == list(range(step + after, 10)), step


def test_average_of_weights_resumes_exactly(regressor, make_loader, make_trainer, tmp_path):
    full, _ = run(regressor, make_loader, make_trainer, tmp_path / "full", accumulate=1, extra=[EMA(decay=0.9)])
    for name in ("step-00000002", "step-00000006"):
        checkpoint = tmp_path / "full" / f"{name}.ckpt"
        part, _ = run(
            regressor,
            make_loader,
            make_trainer,
            tmp_path / name,
            accumulate=1,
            resume=checkpoint,
            extra=[EMA(decay=0.9)],
        )
        torch.testing.assert_close(weights(part), weights(full), rtol=0, atol=0)


@pytest.mark.parametrize("limit_val_batches", [1.0, 0])
def test_finished_run_continues_for_more_epochs(regressor, make_loader, make_trainer, tmp_path, limit_val_batches):
    options = {"accumulate": 1, "limit_val_batches": limit_val_batches}
    longer, _ = run(regressor, make_loader, make_trainer, tmp_path / "longer", max_epochs=3, **options)
    shorter, _ = run(regressor, make_loader, make_trainer, tmp_path / "shorter", max_epochs=2, **options)
    last = sorted((tmp_path / "shorter").glob("*.ckpt"))[-1]
    rest, _ = run(regressor, make_loader, make_trainer, tmp_path / "rest", resume=last, max_epochs=3, **options)
    assert shorter.seen + rest.seen == longer.seen
