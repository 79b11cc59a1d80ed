"""A signal ends a run at a safe moment, with a checkpoint that continues it exactly."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from omniformer.training.checkpoint_io import latest_checkpoint
from omniformer.training.csv_log import CSVLog
from omniformer.training.ema import EMA
from omniformer.training.stop import Stop, Stopped, requeue


def send(signum):
    os.kill(os.getpid(), signum)


def interrupted(regressor, make_loader, make_trainer, folder, when, *extra, signum=signal.SIGTERM, **options):
    """A run that is sent a signal when `when(module, place)` says so."""
    module = regressor(accumulate=options.get("accumulate_grad_batches", 1))

    def at(place):
        if when(module.trainer, place):
            send(signum)

    module.before_step = lambda *_: at("step")
    module.on_validation_batch_start = lambda *_: at("validation")
    trainer = make_trainer(Stop(dirpath=str(folder)), *extra, **options)
    with pytest.raises(Stopped) as caught:
        trainer.fit(module, make_loader(), make_loader(shuffle=False))
    return module, caught.value


PLACES = {
    "in a step": (lambda trainer, place: place == "step" and trainer.global_step == 1, {}),
    "in the first batch of an accumulated step": (
        lambda trainer, place: place == "step" and trainer.global_step == 2 and trainer.fit_loop.batch_idx == 0,
        {"accumulate_grad_batches": 2},
    ),
    "in the last step of an epoch": (lambda trainer, place: place == "step" and trainer.global_step == 2, {}),
    "in the last step of an epoch without validation": (
        lambda trainer, place: place == "step" and trainer.global_step == 2,
        {"limit_val_batches": 0},
    ),
    "in a validation": (lambda trainer, place: place == "validation" and trainer.current_epoch == 1, {}),
    "in a validation in mid-epoch": (
        lambda trainer, place: place == "validation" and trainer.global_step == 5,
        {"val_check_interval": 2},
    ),
    "in the last validation": (lambda trainer, place: place == "validation" and trainer.current_epoch == 2, {}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("average", [False, True])
def test_stopped_run_goes_on_as_if_nothing_had_happened(regressor, make_loader, make_trainer, tmp_path, place, average):
    when, options = PLACES[place]
    extra = [EMA(decay=0.9)] if average else []
    full = regressor(accumulate=options.get("accumulate_grad_batches", 1))
    make_trainer(Stop(dirpath=str(tmp_path / "none")), *extra, **options).fit(
        full, make_loader(), make_loader(shuffle=False)
    )
    extra = [EMA(decay=0.9)] if average else []
    first, stopped = interrupted(regressor, make_loader, make_trainer, tmp_path, when, *extra, **options)
    assert stopped.checkpoint == latest_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    rest = regressor(accumulate=options.get("accumulate_grad_batches", 1))
    validated = []
    rest.on_validation_end = lambda: validated.append(rest.trainer.current_epoch)
    extra = [EMA(decay=0.9)] if average else []
    trainer = make_trainer(Stop(dirpath=str(tmp_path)), *extra, **options)
    trainer.fit(rest, make_loader(), make_loader(shuffle=False), ckpt_path=stopped.checkpoint)
    assert first.seen + rest.seen == full.seen
    torch.testing.assert_close(rest.state_dict(), full.state_dict(), rtol=0, atol=0)
    if "validation" in place and "without" not in place:
        assert validated[0] == (1 if "last" not in place else 2)


@pytest.mark.parametrize("place", ["in a step", "in the last step of an epoch", "in a validation"])
def test_log_of_a_stopped_run_has_every_step_once(regressor, make_loader, make_trainer, tmp_path, place):
    when, _ = PLACES[place]

    def log():
        return {"csv": CSVLog(path=str(tmp_path / "metrics.csv"))}

    _, stopped = interrupted(regressor, make_loader, make_trainer, tmp_path, when, loggers=log())
    trainer = make_trainer(Stop(dirpath=str(tmp_path)), loggers=log())
    trainer.fit(regressor(), make_loader(), make_loader(shuffle=False), ckpt_path=stopped.checkpoint)
    rows = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert [int(row[0]) for row in rows if row[2] == "train/loss"] == list(range(1, 10))
    assert [int(row[0]) for row in rows if row[2] == "val/loss"] == [3, 6, 9]


def test_run_stops_after_the_step_that_was_told(regressor, make_loader, make_trainer, tmp_path):
    when, _ = PLACES["in a step"]
    module, _ = interrupted(regressor, make_loader, make_trainer, tmp_path, when)
    assert len(module.seen) == 2


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)])
def test_exit_status_tells_the_signal(regressor, make_loader, make_trainer, tmp_path, signum, code):
    when, _ = PLACES["in a step"]
    _, stopped = interrupted(regressor, make_loader, make_trainer, tmp_path, when, signum=signum)
    assert stopped.code == code


def test_how_to_go_on_is_printed(regressor, make_loader, make_trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "omniformer.train", "data.root=my data"])
    when, _ = PLACES["in a step"]
    interrupted(regressor, make_loader, make_trainer, tmp_path / "run", when)
    printed = capsys.readouterr().err
    assert "stopped by SIGTERM after step 2" in printed
    assert "to go on: python -m omniformer.train 'data.root=my data' resume=run/last.ckpt" in printed


def test_second_ctrl_c_aborts_at_once_without_saving(regressor, make_loader, make_trainer, tmp_path):
    module = regressor()

    def twice(*_):
        send(signal.SIGINT)
        send(signal.SIGINT)
        raise AssertionError("the second signal was not heard")

    module.before_step = twice
    with pytest.raises(Stopped) as caught:
        make_trainer(Stop(dirpath=str(tmp_path / "stopped"))).fit(module, make_loader(), make_loader())
    assert (caught.value.code, caught.value.checkpoint) == (130, None)
    assert not (tmp_path / "stopped").exists()


def test_the_copy_of_a_ctrl_c_that_torchrun_sends_is_no_second_one(
    regressor, make_loader, make_trainer, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    module = regressor()

    def twice(*_):
        send(signal.SIGINT)
        send(signal.SIGINT)

    module.before_step = twice
    with pytest.raises(Stopped) as caught:
        make_trainer(Stop(dirpath=str(tmp_path))).fit(module, make_loader(), make_loader())
    assert (caught.value.code, caught.value.checkpoint) == (130, tmp_path / "last.ckpt")


@pytest.mark.parametrize(("saved", "dirpath"), [(True, True), (False, True), (False, False)])
def test_a_test_is_interrupted_and_the_newest_checkpoint_named(
    regressor, make_loader, make_trainer, tmp_path, monkeypatch, capsys, saved, dirpath
):
    monkeypatch.chdir(tmp_path)
    module = regressor()
    trainer = make_trainer(Stop(dirpath=str(tmp_path) if dirpath else None))
    trainer.fit(module, make_loader(), make_loader(shuffle=False))
    if saved:
        trainer.save_checkpoint(tmp_path / "step-9.ckpt")
    tested = []
    module.on_test_batch_start = lambda *_: tested.append(send(signal.SIGTERM))
    with pytest.raises(Stopped) as caught:
        trainer.test(module, make_loader())
    assert len(tested) == 1
    assert (caught.value.code, caught.value.checkpoint) == (143, tmp_path / "step-9.ckpt" if saved else None)
    printed = capsys.readouterr().err
    assert "stopped by SIGTERM in the test" in printed and ("resume=step-9.ckpt" in printed) == saved


@pytest.mark.parametrize("fails", [False, True])
def test_signals_are_given_back_after_training(regressor, make_loader, make_trainer, tmp_path, fails):
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("ours"))
    # Shells start background jobs with SIGINT ignored, and a suite may be one.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        module = regressor()
        if fails:
            module.before_step = lambda *_: 1 / 0
            with pytest.raises(ZeroDivisionError):
                make_trainer(Stop(dirpath=str(tmp_path))).fit(module, make_loader(), make_loader())
        else:
            make_trainer(Stop(dirpath=str(tmp_path))).fit(module, make_loader(), make_loader())
        send(signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.signal(signal.SIGINT, interrupt)
    assert heard == ["ours"]


def test_training_outside_the_main_thread_warns_and_works(regressor, make_loader, make_trainer, tmp_path):
    module, caught = regressor(), []

    def fit():
        with pytest.warns(UserWarning, match="signals cannot be handled"):
            make_trainer(Stop(dirpath=str(tmp_path))).fit(module, make_loader(), make_loader())
        caught.append(True)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert caught == [True]
    assert len(module.seen) == 9


def fake_scontrol(folder: Path, monkeypatch, status: int) -> Path:
    tool, called = folder / "scontrol", folder / "called"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {called}\nexit {status}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    return called


def test_slurm_job_is_requeued_once_and_only_on_sigusr1(regressor, make_loader, make_trainer, tmp_path, monkeypatch):
    called = fake_scontrol(tmp_path, monkeypatch, 0)
    when, _ = PLACES["in a step"]
    interrupted(regressor, make_loader, make_trainer, tmp_path / "a", when, signum=signal.SIGTERM)
    assert not called.exists()
    interrupted(regressor, make_loader, make_trainer, tmp_path / "b", when, signum=signal.SIGUSR1)
    assert called.read_text() == "requeue 41\n"


@pytest.mark.parametrize("auto", [True, False])
def test_a_requeued_job_that_would_begin_anew_is_told_so(
    regressor, make_loader, make_trainer, tmp_path, monkeypatch, capsys, auto
):
    fake_scontrol(tmp_path, monkeypatch, 0)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "omniformer.train", *(["resume=auto"] if auto else [])])
    when, _ = PLACES["in a step"]
    interrupted(regressor, make_loader, make_trainer, tmp_path / "run", when, signum=signal.SIGUSR1)
    assert ("add resume=auto to its command" in capsys.readouterr().err) != auto


def test_element_of_a_slurm_array_requeues_itself(tmp_path, monkeypatch):
    called = fake_scontrol(tmp_path, monkeypatch, 0)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "40")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert requeue()
    assert called.read_text() == "requeue 40_3\n"


def test_refused_requeue_is_logged(tmp_path, monkeypatch, caplog):
    fake_scontrol(tmp_path, monkeypatch, 1)
    assert not requeue()
    assert "41 was not put back" in caplog.text
    monkeypatch.delenv("SLURM_JOB_ID")
    assert not requeue()


SCRIPT = """
import sys
sys.orig_argv = ["python", "-m", "omniformer.train"]
sys.path.insert(0, {folder!r})
from conftest import KeyedLoader, Regressor
from omniformer.training.stop import Stop
from omniformer.training.trainer import build_trainer
trainer = build_trainer(
    dict(accelerator="cpu", devices=1, max_epochs=1000, enable_model_summary=False),
    callbacks={{"stop": Stop(dirpath={out!r})}}, loggers={{}}, output_dir={out!r})
module = Regressor(epochs=1000)
module.before_step = lambda *_: print("step", flush=True)
trainer.fit(module, KeyedLoader(), KeyedLoader(shuffle=False))
"""


@pytest.mark.slow
def test_ctrl_c_on_a_real_process_exits_130_with_a_checkpoint_and_says_nothing_else(tmp_path):
    code = SCRIPT.format(folder=str(Path(__file__).parent), out=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert latest_checkpoint(tmp_path).name == "last.ckpt"
    # These lines and no other: no traceback, and none of Lightning's notices and adverts.
    said = ["3,000 steps, in 3 of which", "SIGINT: stopping", "stopped by SIGINT", "checkpoint: ", "to go on: "]
    lines = [line for line in errors.splitlines() if line]
    assert len(lines) == len(said), errors
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True)), errors
