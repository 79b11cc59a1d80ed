"""Short runs from the command line's own function, for tests of what runs make of published models."""

import json
from pathlib import Path

import torch

import omniformer
from omniformer.train import main as train

FAST = ["debug=fast", "logger=none", "callbacks.progress=null", "optim.lr=0.01", "optim.warmup_steps=0"]
LM = ["modality=text", "data.arrange.seq_len=32"]
# Pictures of digits whose names are to be written, in the place of those that are read from files.
DIGITS = ["data=digit_words", "data.answer=text", "tokenizer.vision.patch_size=2", "tokenizer.vision.channels=1"]


def run(folder: Path, *arguments: str) -> Path:
    """The folder of a finished run."""
    train([*FAST, *arguments, f"paths.output_root={folder}"])
    (output,) = (path for path in folder.glob("*/*") if path.is_dir() and not path.is_symlink())
    return output


def numbers(output: Path) -> dict[str, float]:
    """What a run reports."""
    return json.loads((output / "metrics.json").read_text())


def state(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a run, or of a published model."""
    return omniformer.load(folder).model.state_dict()
