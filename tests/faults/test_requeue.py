"""A job of SLURM that is about to run out of time saves, asks for itself again, and goes on where it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
HERE, REPOSITORY = Path(__file__).parent, Path(__file__).parents[2]
PLAIN = (sys.executable, "-m", "omniformer.train", "resume=auto")
BATCH = ("bash", str(REPOSITORY / "scripts" / "places" / "slurm.sh"))
KEYS = [
    *("modality=vision", "core=tiny", "core.n_layers=1", "core.d_model=16", "core.n_heads=2", "data.batch_size=256"),
    *("trainer.max_epochs=4", "trainer.accelerator=cpu"),
]
# What SLURM tells a job of one task.
TASK = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NAME": "train"}
TASK |= {
    "SLURM_JOB_NODELIST": "localhost",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NNODES": "1",
}


def run(folder: Path, command: tuple[str, ...], *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "OMNIFORMER_"))}
    usual |= {"PYTHONPATH": f"{HERE}:{REPOSITORY}:{REPOSITORY / 'tokenizers'}", "OMP_NUM_THREADS": "1"}
    whole = [*command, *KEYS, *more]
    return subprocess.run(whole, cwd=folder, env=usual | environment, capture_output=True, text=True)


def test_a_job_asks_to_be_requeued_and_then_goes_on_by_itself(tmp_path):
    """Two elements of a job array, each with its own seed, beside each other in one folder."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, does in {"scontrol": f'echo "$@" >> {tmp_path / "called"}', "srun": 'exec "$@"'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    job = TASK | {"SLURM_JOB_ID": "41", "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    sabotage = "{_target_:sabotage.Sabotage,place:train,at:0,what:SIGUSR1,step:9}"
    harm = ["allow_targets=[sabotage]", f"callbacks.sabotage={sabotage}"]
    for seed in (0, 1):
        ended = run(tmp_path, BATCH, f"seed={seed}", *harm, **job)
        assert ended.returncode == 138, ended.stderr
        assert "resume=auto: begins anew" in ended.stderr
        assert "stopped by SIGUSR1 after step 10" in ended.stderr
    assert (tmp_path / "called").read_text() == "requeue 41\n" * 2
    ended = run(tmp_path, BATCH, "seed=0", **job, SLURM_RESTART_COUNT="1")
    assert ended.returncode == 0, ended.stderr
    assert "another run: seed is 0 here and 1 there" in ended.stderr
    assert "resume=auto: goes on with" in ended.stderr
    (finished,) = (path.parent.parent for path in tmp_path.glob("outputs/*/20*/model/model.safetensors"))
    (tmp_path / "full").mkdir()
    assert run(tmp_path / "full", PLAIN, "seed=0").returncode == 0
    (full,) = (path.parent.parent for path in tmp_path.glob("full/outputs/*/20*/model/model.safetensors"))
    mine, theirs = (load_file(each / "model" / "model.safetensors") for each in (finished, full))
    assert all(mine[name].equal(theirs[name]) for name in mine | theirs)
