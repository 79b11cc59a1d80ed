"""A callback that writes down what every batch did: its samples, its loss, the rate, to the last digit."""

import json
from pathlib import Path

from lightning.pytorch.callbacks import Callback


class Trace(Callback):
    """Appends a line for each batch that is done to `path` with the number of the rank at its end."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        ids = {name: list(each.ids) for name, each in batch.items()}
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        place = trainer.current_epoch * trainer.num_training_batches + batch_idx
        row = [place, ids, float(outputs["loss"]).hex(), rates]
        with Path(f"{self.path}{trainer.global_rank}").open("a") as file:
            file.write("\n" + json.dumps(row))  # behind whatever a kill has left
