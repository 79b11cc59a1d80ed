"""Whole runs of divided models: two machines, one of them lost, and going on with another number of processes."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from tiny_runs import state

from omniformer.training.checkpoint_io import latest_checkpoint

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
REPOSITORY = Path(__file__).parents[2]
RUN = [
    *("modality=vision", "core=tiny", "core.n_layers=2", "core.d_model=16", "core.n_heads=2", "core.dropout=0"),
    *("data.batch_size=24", "optim.schedule=constant", "optim.warmup_steps=0", "trainer.log_every_n_steps=1"),
    *("trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "callbacks.recent.every_minutes=0"),
]
LAST = 40  # steps of the whole run
CPU = "trainer.accelerator=cpu"


def start(folder: Path, name: str, *arguments: str) -> subprocess.Popen:
    """A command of the project in a process group of its own; what it prints goes to `<name>.txt`."""
    environment = {
        key: each for key, each in os.environ.items() if not key.startswith(("LOCAL_", "TORCHEL", "MASTER_"))
    }
    environment |= {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tokenizers'}", "OMP_NUM_THREADS": "1"}
    with (folder / f"{name}.txt").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def kill(process: subprocess.Popen) -> None:
    """Kills a process and all that it has started, which torchrun puts into sessions of their own."""
    shown = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in shown.splitlines())
    below = [pid for pid in parents if process.pid in _above(pid, parents)]
    for pid in (process.pid, *below):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _above(pid: int, parents: dict[int, int]) -> list[int]:
    found = []
    while (pid := parents.get(pid, 0)) > 1:
        found.append(pid)
    return found


def train(folder: Path, name: str, *arguments: str) -> None:
    process = start(folder, name, "omniformer.train", *RUN, *arguments)
    try:
        assert process.wait(timeout=900) == 0, (folder / f"{name}.txt").read_text()[-3000:]
    finally:
        kill(process)


def nodes(folder: Path, name: str, *arguments: str) -> list[subprocess.Popen]:
    """Two agents of torchrun, each with one process, as on two machines."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meet = [
        "--nnodes=2",
        "--nproc-per-node=1",
        "--rdzv-id=run",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{port}",
    ]
    run = ["-m", "omniformer.train", *RUN, "trainer=fsdp", "trainer.devices=1", "trainer.num_nodes=2", CPU, *arguments]
    return [start(folder, f"{name}{i}", "omniformer.launch", *meet, *run) for i in range(2)]


def losses(run: Path) -> dict[str, float]:
    with (run / "metrics.csv").open() as file:
        return {row["step"]: float(row["value"]) for row in csv.DictReader(file) if row["name"] == "train/loss"}


def test_a_lost_machine_and_other_numbers_of_processes_repeat_and_lose_nothing(tmp_path):
    train(tmp_path, "alone", CPU, f"trainer.max_steps={LAST}", f"paths.output_dir={tmp_path / 'alone'}")
    run = tmp_path / "run"
    both = nodes(tmp_path, "lost", "trainer.max_steps=100000", f"paths.output_dir={run}")
    try:
        deadline = time.monotonic() + 600
        while len(list((run / "checkpoints").glob("step-*.ckpt"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        kill(both[1])
        assert both[0].wait(timeout=120) != 0
    finally:
        for each in both:
            kill(each)
    reached = int(latest_checkpoint(run).stem.removeprefix("step-"))
    assert 0 < reached < LAST - 6
    both = nodes(tmp_path, "again", f"trainer.max_steps={reached + 3}", f"paths.output_dir={run}", f"resume={run}")
    try:
        for i, each in enumerate(both):
            assert each.wait(timeout=600) == 0, (tmp_path / f"again{i}.txt").read_text()[-3000:]
    finally:
        for each in both:
            kill(each)
    three = ["trainer=fsdp", "trainer.devices=3", CPU, f"trainer.max_steps={reached + 6}"]
    train(tmp_path, "three", *three, f"paths.output_dir={run}", f"resume={run}")
    train(tmp_path, "one", CPU, f"trainer.max_steps={LAST}", f"paths.output_dir={run}", f"resume={run}")
    wanted, found = losses(tmp_path / "alone"), losses(run)
    assert list(found) == list(wanted)  # no step is lost, and each is logged as one process does
    assert list(found.values()) == pytest.approx(list(wanted.values()), rel=1e-3)
    for name, each in state(tmp_path / "alone").items():
        torch.testing.assert_close(state(run)[name], each, rtol=0, atol=2e-3)


@pytest.mark.parametrize("kind", ["tensor", "context"])
def test_processes_that_compute_together_hand_over_to_one_and_take_over_from_it(kind, tmp_path):
    averaged = [CPU, "callbacks=ema"]
    train(tmp_path, "alone", *averaged, "trainer.max_steps=12", f"paths.output_dir={tmp_path / 'alone'}")
    run = tmp_path / "run"
    pair, four = (f"trainer={kind}", "trainer.devices=2"), (f"trainer={kind}", "trainer.devices=4")
    train(tmp_path, "pair", *pair, *averaged, "trainer.max_steps=4", f"paths.output_dir={run}")
    assert error(tmp_path / "alone", run) > 1e-3
    for last, name, by in ((6, "one", ()), (8, "divided", ("trainer=fsdp", "trainer.devices=3")), (12, "four", four)):
        again = [f"trainer.max_steps={last}", f"paths.output_dir={run}", f"resume={run}"]
        train(tmp_path, name, *by, *averaged, *again)
    assert losses(run) == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    assert error(tmp_path / "alone", run) < 1e-4


def error(wanted: Path, found: Path) -> float:
    return max(float((state(found)[name] - each).abs().max()) for name, each in state(wanted).items())
