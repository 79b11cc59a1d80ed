"""`hydra/launcher=slurm`: what a sweep asks SLURM for."""

import pytest

import hydra_plugins.omniformer_slurm as plugin
from omniformer.config import entry_point


def test_the_runs_of_a_sweep_are_a_job_array_with_a_process_a_device(tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.chdir(tmp_path)
    for name, text in {"srun": "", "sbatch": f'cp "$1" {tmp_path}/asked\necho no queue >&2\nexit 1\n'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    main = entry_point("train")(never)
    keys = ["trainer=ddp", "trainer.devices=4", "trainer.num_nodes=2", "hydra.launcher.partition=big", "seed=0,1,2"]
    with pytest.raises(Exception, match="no queue"):
        main(["-m", "hydra/launcher=slurm", "modality=vision", *keys])
    asked = set((tmp_path / "asked").read_text().splitlines())
    assert {f"#SBATCH --{each}" for each in ("nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "time=720")} <= asked
    assert {"#SBATCH --array=0-2%3", "#SBATCH --partition=big", "#SBATCH --job-name=vision"} <= asked


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        (None, "needs hydra-submitit-launcher, which is not installed"),
        (True, "sbatch and srun not found on this machine"),
    ],
)
def test_what_is_lacking_is_told_in_one_sentence(installed, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugin, "find_spec", lambda name: installed)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        entry_point("train")(never)(["-m", "hydra/launcher=slurm", "modality=vision", "seed=0,1"])
    assert f"hydra/launcher=slurm: {told}" in capsys.readouterr().err


def never(config):
    """Learns nothing: no run is started here."""
    raise AssertionError(config)
