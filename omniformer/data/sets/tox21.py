"""Twelve yes-no questions about the toxicity of molecules, most of them answered."""

import csv
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.molecule_table import MoleculeTable
from omniformer.data.sets.molecules import FACTS, Molecules, made_molecules, read_molecules
from omniformer.data.sets.reading import laid_out_or_original, unpacked

PACKED = "tox21/tox21_graphs.npz"
ORIGINAL = "tox21/tox21.csv.gz"
URL = (
    "https://raw.githubusercontent.com/deepchem/deepchem/fbe3b911a94a6eb8c84c1a9e7ac67a472c49ea80/datasets/tox21.csv.gz"
)
SHA256: str | None = "48b34e4e59a2bae6f95734cd206c1869ab355f50a5e50bb7371a21f861d5e297"
ASSAYS = (
    "NR-AR",
    "NR-AR-LBD",
    "NR-AhR",
    "NR-Aromatase",
    "NR-ER",
    "NR-ER-LBD",
    "NR-PPAR-gamma",
    "SR-ARE",
    "SR-ATAD5",
    "SR-HSE",
    "SR-MMP",
    "SR-p53",
)


class Tox21(MoleculeTable):
    """Which of twelve toxicity assays a molecule sets off (Tox21 challenge 2014, as in
    [MoleculeNet](https://arxiv.org/abs/1703.00564)).

    8,014 molecules, as graphs in the same form as `ESOL`. An assay that was not made, 17 % of them, is NaN in the
    target `labels`, float32 `[12]`. Eight rows hold no molecule that RDKit can read; they are dropped, `n_dropped`
    counts them. Split by the number n of the row: n % 10 == 0 tests (801), n % 10 == 1 validates (802), the others
    train (6,403). MoleculeNet publishes no fixed split, so its scores are of others.

    Read is `tox21/tox21_graphs.npz`, or else `tox21/tox21.csv.gz`, which is what is fetched; its SMILES need RDKit.
    Both give the same samples.

    Args:
        data_root: the folder in which `tox21` lies; None means the current folder.
        download: fetch the table (125 kB) where neither file is there.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ImportError: only the table is there, and RDKit is not installed.
        ValueError: a file that cannot be read or is not the one expected, a label that is neither 0 nor 1 nor missing,
            arrays that do not fit; names file and row.

    Example:
        >>> Tox21().labels[0], Tox21().facts["n_classes"]
        ('NR-AR', 12)
    """

    prefix = "tox21"
    target = "labels"

    def __init__(self, *, data_root: str | None = None, download: bool = False) -> None:
        self.data_root = data_root
        self.download = download

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the assays, in the order of the targets."""
        return ASSAYS

    @property
    def facts(self) -> dict[str, Any]:
        """The number of assays, and of categories of atoms and bonds."""
        return {"n_classes": len(ASSAYS)} | FACTS

    def _table(self) -> tuple[torch.Tensor, Molecules]:
        file = laid_out_or_original(
            PACKED, ORIGINAL, data_root=self.data_root, url=URL, sha256=SHA256, download=self.download
        )
        if file.suffix == ".npz":
            arrays = read_arrays(file, ["y", "tasks"])
            if tuple(arrays["tasks"].tolist()) != ASSAYS:
                raise ValueError(f"{file}: tasks are {arrays['tasks'].tolist()}; expected {list(ASSAYS)}")
            labels, molecules = arrays["y"].astype(np.float32), read_molecules(file)
        else:
            labels, smiles = _rows(file)
            molecules = made_molecules(smiles, where=file)
        if labels.shape != (len(molecules), len(ASSAYS)):
            raise ValueError(f"{file}: y has shape {list(labels.shape)}; expected [{len(molecules)}, {len(ASSAYS)}]")
        wrong = ~(np.isnan(labels) | (labels == 0) | (labels == 1))
        if wrong.any():
            row, assay = np.argwhere(wrong)[0]
            raise ValueError(
                f"{file}: row {row} has {labels[row, assay]} for {ASSAYS[assay]}; expected 0, 1 or nothing"
            )
        return torch.from_numpy(labels), molecules


def _rows(table: Path) -> tuple[NDArray, list[str]]:
    """The labels `[rows, 12]`, NaN where there is none, and the SMILES of each row."""
    labels, smiles = [], []
    try:
        reader = csv.DictReader(io.StringIO(unpacked(table).decode("utf-8-sig"), newline=""))
        if lacking := {*ASSAYS, "smiles"} - set(reader.fieldnames or ()):
            raise ValueError(f"it has no column {min(lacking)!r}")
        for row, fields in enumerate(reader):
            if not (fields["smiles"] or "").strip():
                raise ValueError(f"row {row} has no SMILES")
            labels.append([float(fields[assay] or "nan") for assay in ASSAYS])
            smiles.append(fields["smiles"])
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{table} cannot be read, {len(smiles)} rows in: {error}") from error
    return np.array(labels, dtype=np.float32).reshape(-1, len(ASSAYS)), smiles
