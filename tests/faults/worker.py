"""A training run in a process of its own, for tests that kill it: `python worker.py folder key=value...`.

Every step is appended to `folder/steps.jsonl` when it is done: its number, sample ids, loss (exact) and rate.
"""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

from omniformer.training.accumulation import KeepGradients
from omniformer.training.background import BackgroundSaving
from omniformer.training.checkpoint_io import latest_checkpoint
from omniformer.training.checkpoints import RecentCheckpoint
from omniformer.training.finite import Finite
from omniformer.training.rng import StepSeeds
from omniformer.training.stop import Stop
from omniformer.training.trainer import build_trainer

spec = importlib.util.spec_from_file_location("parts", Path(__file__).parents[1] / "training" / "conftest.py")
assert spec is not None
assert spec.loader is not None
parts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parts)


def main(folder: Path, options: dict[str, str]) -> None:
    epochs, devices = int(options.get("epochs", 6)), int(options.get("devices", 1))
    accumulate, wait = int(options.get("accumulate", 2)), float(options.get("wait", 0.0))
    n = int(options.get("n", 12))
    rank = int(os.environ.get("LOCAL_RANK", 0))

    class Logged(parts.Regressor):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            time.sleep(wait)
            place = self.trainer.current_epoch * len(loader) + batch_idx
            self.row = [place, *self.seen[-1]]
            if options.get("fail_rank") == str(rank) and place == 4:
                raise RuntimeError(f"rank {rank} fails as asked")
            if options.get("nan_rank") == str(rank) and place == 4:
                return loss * float("nan")
            return loss

        def on_train_batch_end(self, *_):
            with (folder / f"steps{rank}.jsonl").open("a") as file:
                file.write("\n" + json.dumps([*self.row, os.getpid()]))  # behind whatever a kill has left

    checkpoints = str(folder / "checkpoints")
    callbacks = {
        "recent": RecentCheckpoint(dirpath=checkpoints, every_minutes=float(options.get("minutes", 0.0))),
        "stop": Stop(dirpath=checkpoints),
        "seeds": StepSeeds(seed=0),
        "gradients": KeepGradients(),
        "finite": Finite(),
    }
    if "background" in options:
        callbacks["background"] = BackgroundSaving()
    trainer = build_trainer(
        {"accelerator": "cpu", "devices": devices, "max_epochs": epochs, "accumulate_grad_batches": accumulate}
        | {"enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1, "val_check_interval": 2},
        callbacks=callbacks,
        loggers={},
        output_dir=str(folder),
    )
    loader = parts.KeyedLoader(n)
    module = Logged(batches=len(loader), epochs=epochs, accumulate=accumulate)
    width = int(options.get("width", 0))
    if width:
        module.ballast = parts.nn.Parameter(parts.torch.zeros(width))
    try:
        resume = latest_checkpoint(checkpoints)
    except FileNotFoundError:
        resume = None
    trainer.fit(module, loader, parts.KeyedLoader(shuffle=False), ckpt_path=resume)
    if trainer.is_global_zero:
        parts.torch.save(module.state_dict(), folder / "final.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(argument.split("=") for argument in sys.argv[2:]))
