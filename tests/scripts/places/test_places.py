"""What starts training elsewhere: the commands are valid, and the numbers of nodes and devices in them agree."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from omniformer.train import main as train

REPOSITORY = Path(__file__).parents[3]
PLACES = REPOSITORY / "scripts" / "places"
JOB = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "4", "SLURM_CPUS_PER_TASK": "8"}


def composes(keys, capsys):
    train([*keys, "--cfg", "job"])
    return yaml.safe_load(capsys.readouterr().out)


def slurm(folder, *keys, **environment):
    """Runs the batch script with a stand-in of srun, which notes what it is to start."""
    tool = folder / "srun"
    tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$SRUN_CPUS_PER_TASK" "$@" > {folder}/started\n')
    tool.chmod(0o755)
    usual = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    usual |= {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        [PLACES / "slurm.sh", *keys], cwd=folder, env=usual | environment, capture_output=True, text=True
    )


def test_the_batch_script_starts_a_process_a_device_and_resumes(tmp_path, capsys):
    done = slurm(tmp_path, "modality=text", "trainer=ddp", "name=two words", **JOB)
    assert done.returncode == 0, done.stderr
    cpus, python, flag, module, *keys = (tmp_path / "started").read_text().splitlines()
    assert (cpus, python, flag, module) == ("8", "python", "-m", "omniformer.train")
    config = composes(keys, capsys)
    assert (config["trainer"]["devices"], config["trainer"]["num_nodes"]) == (4, 2)
    assert (config["name"], config["resume"]) == ("two words", "auto")


def test_the_batch_script_asks_for_as_many_devices_as_processes_and_to_be_told_in_time():
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", (PLACES / "slurm.sh").read_text(), re.MULTILINE))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert options["signal"].startswith("USR1@")  # of the steps; B: would tell the script alone
    assert {"requeue", "open-mode"} <= options.keys()


def test_the_batch_script_says_what_it_is_for_outside_slurm(tmp_path):
    done = slurm(tmp_path, "modality=text")
    assert done.returncode == 2 and "start it with sbatch" in done.stderr
    assert not (tmp_path / "started").exists()


def test_pods_are_as_many_as_nodes_and_meet_at_the_first_one(capsys):
    described = yaml.safe_load((PLACES / "jobset.yaml").read_text())
    (job,) = described["spec"]["replicatedJobs"]
    pods, (container,) = job["template"]["spec"], job["template"]["spec"]["template"]["spec"]["containers"]
    verb, *arguments = container["args"]
    assert verb == "launch"
    at = arguments.index("-m")
    options = dict(each.removeprefix("--").split("=", 1) for each in arguments[:at])
    assert arguments[at + 1] == "omniformer.train"
    config = composes(arguments[at + 2 :], capsys)
    assert int(options["nnodes"]) == pods["parallelism"] == pods["completions"] == config["trainer"]["num_nodes"]
    devices = container["resources"]["limits"]["nvidia.com/gpu"]
    assert int(options["nproc-per-node"]) == devices == config["trainer"]["devices"]
    name = described["metadata"]["name"]
    assert options["rdzv-endpoint"].split(":")[0] == f"{name}-{job['name']}-0-0.{name}"
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pods["template"]["spec"]["volumes"]}
    assert config["paths"]["output_root"].startswith("/shared/") and config["resume"] == "auto"


def test_the_image_copies_what_the_package_is_built_of():
    lines = (PLACES / "Dockerfile").read_text().splitlines()
    copied = {source for line in lines if line.startswith("COPY ") for source in shlex.split(line)[1:-1]}
    assert all((REPOSITORY / each).exists() for each in copied)
    assert {"pyproject.toml", "README.md", "LICENSE", "conf", "omniformer", "hydra_plugins", "tokenizers"} <= copied
    assert "FROM ${BASE}" in lines  # which registry images come from is for whoever builds to say
    assert "conf/local" in (PLACES / "Dockerfile.dockerignore").read_text().splitlines()


@pytest.mark.parametrize("script", sorted(PLACES.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_of_the_shell_parse(script):
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert os.access(script, os.X_OK)
