"""Every default run from the command line: on two and four processes its weights become those of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STEPS = 20
RUN = [
    *("trainer.accelerator=cpu", f"trainer.max_steps={STEPS}", "trainer.limit_val_batches=1"),
    *("trainer.limit_test_batches=1", "core.dropout=0", "logger=none", "callbacks.progress=null"),
    *("allow_targets=[plain_sgd]", "optim._target_=plain_sgd.PlainSGD"),
    *("optim.lr=0.1", "optim.schedule=constant", "optim.warmup_steps=0"),
]
EMBEDDERS = {"text": ["embedder.dropout=0"], "all": ["members.text.embedder.dropout=0"]}  # those that drop ids


def weights(folder, data, modality, processes):
    """What a run of the command line ends with."""
    split = ["trainer=ddp", f"trainer.devices={processes}"] if processes > 1 else []
    output = folder / str(processes)
    folders = [*EMBEDDERS.get(modality, ()), f"data_root={data}", f"paths.output_dir={output}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE}:{ROOT}:{ROOT / 'tokenizers'}"}
    done = subprocess.run(
        [*(sys.executable, "-m", "omniformer.train", f"modality={modality}", *split, *RUN), *folders],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return load_file(output / "model" / "model.safetensors")


@pytest.mark.parametrize("modality", ["vision", "text", "audio", "graph", "all"])
def test_weights_on_two_and_four_processes_are_those_of_one(modality, shared_data, tmp_path):
    alone = weights(tmp_path, shared_data, modality, 1)
    for processes in (2, 4):
        split = weights(tmp_path, shared_data, modality, processes)
        apart = max(float((split[key] - alone[key]).abs().max()) for key in alone)
        print(f"{modality}: {processes} processes, largest difference of a weight {apart:.1e}")
        assert apart <= 1e-5
