"""A small configuration of our own making: the shipped table of contents over parts that cost nothing to describe."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from omniformer.config.folder import conf_dir

LEAVES = {
    "trainer/default": "_target_: lightning.Trainer\nmax_epochs: 3\ndevices: 1\n",
    "optim/adamw": "_target_: torch.optim.AdamW\n_partial_: true\nlr: 0.001\nbetas: [0.9, 0.95]\n",
    "core/small": "_target_: toybox.Core\nd_model: 64\nn_heads: 4\n",
    "core/wide": "_target_: toybox.Core\nd_model: 128\nn_heads: 4\n",
    "tokenizer/pieces": "_target_: toybox.Part\nsize: 4\n",
    "embedder/pieces": "_target_: toybox.Part\nsize: 4\n",
    "data/numbers": "_target_: toybox.Part\nsize: 4\n",
    "task/guess": "_target_: toybox.Part\nsize: 4\n",
    "callbacks/default": (
        "save:\n  _target_: lightning.pytorch.callbacks.ModelCheckpoint\n  dirpath: ${paths.output_dir}/checkpoints\n"
    ),
    "logger/csv": "csv:\n  _target_: lightning.pytorch.loggers.CSVLogger\n  save_dir: ${paths.output_dir}\n",
}
MODALITY = """# @package _global_
defaults:
  - override /tokenizer: pieces
  - override /embedder: pieces
  - override /data: numbers
  - override /task: guess
name: {name}
"""
TOYBOX = """
from typing import Literal

class Part:
    def __init__(self, *, size: int = 1, mode: Literal["soft", "hard"] = "soft", parts: list["Part"] | None = None):
        self.size, self.mode, self.parts = size, mode, parts or []

class Core:
    def __init__(self, *, d_model: int, n_heads: int = 4, dropout: float = 0.0, part: Part | None = None):
        if d_model == 13:
            raise ValueError("d_model=13 brings bad luck")
        self.d_model, self.n_heads, self.dropout, self.part = d_model, n_heads, dropout, part

def double(size: int) -> int:
    return 2 * size
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def toybox(tmp_path, monkeypatch):
    """A package of a user's own, importable as `toybox`."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "toybox.py").write_text(TOYBOX, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("toybox", None)


@pytest.fixture
def conf(tmp_path, toybox, monkeypatch):
    """The folder of a small configuration; the working directory is empty and stays the test's own."""
    folder = tmp_path / "conf"
    shipped = conf_dir()
    for name in ("paths", "hydra", "debug"):
        shutil.copytree(shipped / name, folder / name)
    table = (shipped / "train.yaml").read_text(encoding="utf-8")
    for line, ours in {"core": "small", "optim": "adamw", "callbacks": "default", "logger": "csv"}.items():
        table = _with_default(table, line, ours)
    (folder / "train.yaml").write_text(table.replace("allow_targets: []", "allow_targets: [toybox]"), encoding="utf-8")
    write(folder, LEAVES)
    write(folder, {f"modality/{name}": MODALITY.format(name=name) for name in ("vision", "text")})
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name in ("LOCAL_RANK", "SLURM_STEP_NUM_TASKS", "OMNIFORMER_RUN_STAMP", "OMNIFORMER_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    yield folder
    os.environ.pop("OMNIFORMER_RUN_STAMP", None)


def _with_default(table: str, group: str, option: str) -> str:
    lines = table.splitlines(keepends=True)
    return "".join(f"  - {group}: {option}\n" if line.startswith(f"  - {group}:") else line for line in lines)
