"""What a GPU would make of the software, without one: `tests/support/stand_in_device.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"


def python(*arguments, folder):
    """A process of its own: a device is registered for good."""
    environment = os.environ | {"PYTHONPATH": f"{SUPPORT}:{ROOT}:{ROOT / 'tokenizers'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


CORE = """
import stand_in_device, torch
stand_in_device.register()
from omniformer.core import Causal, Full, Layout, Transformer
core = Transformer(d_model=16, n_layers=2, n_heads=2).to("standin")
for rule in (Full(), Causal()):
    for lengths in ((4, 4), (2, 5, 0)):
        layout = Layout.from_lengths(*lengths, device="standin")
        x = torch.randn(layout.n_tokens, 16)
        ours, theirs = x.to("standin").requires_grad_(), x.clone().requires_grad_()
        core(ours, layout, rule).square().sum().backward()
        assert not stand_in_device.waits, stand_in_device.waits
        here = Transformer(d_model=16, n_layers=2, n_heads=2)
        here.load_state_dict({name: each.cpu() for name, each in core.state_dict().items()})
        here(theirs, Layout.from_lengths(*lengths), rule).square().sum().backward()
        torch.testing.assert_close(ours.grad.cpu(), theirs.grad)
        stand_in_device.waits.clear()
try:
    x + ours
except RuntimeError as error:
    print(error)
bool((ours > 0).all())
print(dict(stand_in_device.waits))
"""


@pytest.mark.slow
def test_a_core_waits_for_nothing_and_devices_do_not_mix(tmp_path):
    mixed, waited = python("-c", CORE, folder=tmp_path).splitlines()
    assert mixed == "aten.add.Tensor mixes devices: [7, 16] on cpu, [7, 16] on standin:0; all tensors must be on one"
    assert waited == "{'elsewhere _local_scalar_dense': 1}"


# What a training step of all modalities may wait for, by file: whether losses are finite, once a step; the pairs of a
# graph, whose number is not known before; which targets a sample has.
ALLOWED = {
    "omniformer/training/finite.py": 1,
    "omniformer/core/rules/graph.py": 1,
    "omniformer/core/rules/base.py": 1,
    "omniformer/core/attention/blocks.py": 1,
    "omniformer/tasks/causal_lm.py": 1,
    "omniformer/tasks/classification.py": 1,
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_of_all_modalities_mixes_no_devices_and_waits_for_little_in_a_step(shared_data, tmp_path):
    limits = [f"trainer.limit_{stage}_batches={n}" for stage, n in (("train", 2), ("val", 4), ("test", 4))]
    small = ["core.d_model=32", "core.n_layers=1", "core.n_heads=2", "trainer.inference_mode=false"]
    options = ["modality=all", "debug=fast", *limits, *small, "logger=none", "callbacks.progress=null"]
    python(SUPPORT / "stand_in_run.py", tmp_path, *options, f"data_root={shared_data}", folder=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    for step in found["steps"]:
        files = {}
        for line, times in step.items():
            files[line.partition(":")[0]] = files.get(line.partition(":")[0], 0) + times
        assert all(times <= ALLOWED.get(file, 0) for file, times in files.items()), json.dumps(step, indent=2)
    assert sum(found["generate"].values()) <= 20, json.dumps(found["generate"], indent=2)
    assert sum(found["predict"].values()) <= 3, json.dumps(found["predict"], indent=2)
