"""Runs of two processes: whoever is told to stop, all stop with a checkpoint; whoever fails, all end with the cause."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from busy import of_idle

from omniformer.training.checkpoint_io import latest_checkpoint, verify

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
RUN = [
    *("modality=vision", "core=tiny", "core.n_layers=1", "core.d_model=16", "core.n_heads=2", "data.batch_size=64"),
    *("trainer.max_epochs=500", "trainer.accelerator=cpu", "allow_targets=[sabotage]"),
]
TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
LAUNCHED = ["-m", "omniformer.launch", "--nproc-per-node", "2", "-m", "omniformer.train", *RUN, *TWO]
STARTED = ["-m", "omniformer.train", *RUN, *TWO]
ALONE = ["-m", "omniformer.train", *RUN]


class Ended:
    """How a run ended: exit status, what it printed, seconds from the harm to the end, processes left over."""

    def __init__(self, folder: Path, arguments: list[str], **harm: object) -> None:
        sabotage = ",".join(f"{name}:{value}" for name, value in harm.items())
        overrides = [
            f"paths.output_dir={folder / 'run'}",
            f"callbacks.sabotage={{_target_:sabotage.Sabotage,{sabotage}}}",
        ]
        environment = os.environ | {
            "PYTHONPATH": f"{HERE}:{REPOSITORY}:{REPOSITORY / 'tokenizers'}",
            "OMP_NUM_THREADS": "1",
        }
        environment = {name: value for name, value in environment.items() if not name.startswith(("LOCAL_", "TORCHEL"))}
        self.log = folder / "log.txt"
        with self.log.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments, *overrides],
                cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            try:
                self.status = process.wait(timeout=360)
            finally:
                self.left = self._group(process.pid)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        self.printed = self.log.read_text()
        self.checkpoints = folder / "run" / "checkpoints"

    @staticmethod
    def _group(leader: int) -> list[str]:
        """The processes of a session that are there 30 s of an idle machine after its leader has ended."""
        end = time.monotonic() + of_idle(30)
        while time.monotonic() < end:
            shown = subprocess.run(["ps", "-o", "args=", "-g", str(leader)], capture_output=True, text=True).stdout
            left = [line for line in shown.splitlines() if "defunct" not in line]
            if not left:
                return []
            time.sleep(0.5)
        return left


@pytest.mark.parametrize(
    ("arguments", "harm", "status"),
    [
        (LAUNCHED, {"at": 0, "what": "SIGTERM", "target": "parent"}, 143),
        (LAUNCHED, {"at": 1, "what": "SIGTERM", "target": "self"}, 143),
        (LAUNCHED, {"at": 1, "what": "SIGUSR1", "target": "parent"}, 138),
        (LAUNCHED, {"at": 0, "what": "SIGINT", "target": "group"}, 130),
        (STARTED, {"at": 0, "what": "SIGTERM", "target": "self"}, 143),
        (STARTED, {"at": 1, "what": "SIGTERM", "target": "self"}, 143),
        (STARTED, {"at": 0, "what": "SIGINT", "target": "group"}, 130),
    ],
    ids=lambda value: (
        value[1]
        if isinstance(value, list)
        else f"{value['what']} to {value['at']} {value['target']}"
        if isinstance(value, dict)
        else None
    ),
)
@pytest.mark.parametrize("place", ["train", "validation"])
def test_whoever_is_told_all_stop_with_one_checkpoint_and_the_right_status(tmp_path, arguments, harm, status, place):
    ended = Ended(tmp_path, arguments, place=place, **harm)
    assert ended.status == status, ended.printed[-3000:]
    assert latest_checkpoint(ended.checkpoints).name == "last.ckpt"
    verify(ended.checkpoints / "last.ckpt")
    assert f"stopped by {harm['what']} after step" in ended.printed
    assert ended.left == []


@pytest.mark.parametrize("arguments", [ALONE, LAUNCHED], ids=["alone", "launched"])
def test_a_test_is_stopped_too_and_the_newest_checkpoint_goes_on(tmp_path, arguments):
    short = [*arguments, "trainer.max_epochs=1"]
    ended = Ended(tmp_path, short, place="test", at=0, what="SIGTERM", step=0)
    assert ended.status == 143, ended.printed[-3000:]
    assert "stopped by SIGTERM in the test" in ended.printed
    assert f"resume={latest_checkpoint(ended.checkpoints)}" in ended.printed.replace(
        "resume=run", f"resume={tmp_path}/run"
    )
    assert ended.left == []


@pytest.mark.parametrize("arguments", [LAUNCHED, STARTED], ids=["launched", "started"])
def test_a_rank_that_fails_ends_all_and_its_error_is_told_last(tmp_path, arguments):
    ended = Ended(tmp_path, arguments, place="train", at=1, what="raise")
    assert ended.status == 1
    assert ended.left == []
    last = [line for line in ended.printed.splitlines() if line.startswith(("error:", "ValueError:"))][-1]
    assert "the disk of this rank has caught fire" in last, ended.printed[-3000:]


@pytest.mark.parametrize("arguments", [LAUNCHED, STARTED], ids=["launched", "started"])
def test_a_rank_that_is_killed_ends_all_and_that_is_told(tmp_path, arguments):
    ended = Ended(tmp_path, arguments, place="train", at=1, what="SIGKILL")
    assert ended.status not in (0, None)
    assert ended.left == []
    said = "rank 1 was ended by SIGKILL" if arguments is STARTED else "another rank is gone without a word"
    assert said in ended.printed, ended.printed[-3000:]


@pytest.mark.parametrize("arguments", [LAUNCHED, STARTED], ids=["launched", "started"])
def test_a_rank_that_stands_still_ends_with_its_stacks(tmp_path, arguments):
    ended = Ended(tmp_path, [*arguments, "callbacks.watchdog.seconds=30"], place="train", at=1, what="sleep")
    assert ended.status not in (0, None)
    assert ended.left == []
    assert "rank 1 has finished no batch for 30 s" in ended.printed, ended.printed[-3000:]
    assert 'sabotage.py", line' in ended.printed and "in _harm" in ended.printed
