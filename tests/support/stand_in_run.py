"""Runs on the stand-in device, in a process of their own: `python stand_in_run.py FOLDER KEY=VALUE...`.

Trains, validates, tests, predicts and saves; writes and predicts with what was saved; and leaves as `found.json` what
waited for the device in each training step and in each stage, by line.
"""

import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import stand_in_device
import torch

stand_in_device.register()

from lightning.pytorch import Callback  # noqa: E402
from lightning.pytorch.accelerators import Accelerator  # noqa: E402
from lightning.pytorch.strategies import SingleDeviceStrategy  # noqa: E402

from omniformer.generate import main as generate  # noqa: E402
from omniformer.predict import main as predict  # noqa: E402
from omniformer.train import main as train  # noqa: E402
from omniformer.training import trainer as training  # noqa: E402

DEVICE = torch.device(stand_in_device.NAME, 0)


class StandInAccelerator(Accelerator):
    """What Lightning asks of an accelerator."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing to set up."""

    def teardown(self) -> None:
        """Nothing to take down."""

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        """None."""
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        """One."""
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        """One."""
        return [DEVICE]

    @staticmethod
    def auto_device_count() -> int:
        """One."""
        return 1

    @staticmethod
    def is_available() -> bool:
        """Always."""
        return True

    @staticmethod
    def name() -> str:
        """As torch knows it."""
        return stand_in_device.NAME


class Steps(Callback):
    """Notes what each training step waits for, from its batch on the device to its update."""

    def __init__(self) -> None:
        self.found: list[dict[str, int]] = []

    def on_train_batch_start(self, *args: Any) -> None:
        """Begins to count."""
        self.before = Counter(stand_in_device.waits)

    def on_train_batch_end(self, *args: Any) -> None:
        """Counts."""
        self.found.append(dict(stand_in_device.waits - self.before))


def main(folder: str, *arguments: str) -> None:
    """Runs everything."""
    warnings.filterwarnings("ignore")
    steps, make = Steps(), training.Trainer

    def on_the_device(**options: Any) -> Any:
        del options["accelerator"]
        strategy = SingleDeviceStrategy(device=DEVICE, accelerator=StandInAccelerator())
        return make(**options | {"strategy": strategy, "callbacks": [*options["callbacks"], steps]})

    training.Trainer = on_the_device
    run = Path(folder) / "run"
    train([*arguments, f"paths.output_dir={run}"])
    found: dict[str, Any] = {"steps": steps.found, "training": dict(stand_in_device.waits)}
    image = Path(folder) / "graph.json"
    image.write_text('{"edges": [[0, 1], [1, 2]], "n_nodes": 3}')
    for name, command, given in (
        ("generate", generate, ["The statement", "--max-new-tokens", "3", "--temperature", "0"]),
        ("predict", predict, [str(image)]),
    ):
        stand_in_device.waits.clear()
        command([str(run), *given, "--device", str(DEVICE)])
        found[name] = dict(stand_in_device.waits)
    Path(folder, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
