"""How well molecules dissolve in water."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.molecule_table import MoleculeTable
from omniformer.data.sets.molecules import FACTS, Molecules, made_molecules, read_molecules
from omniformer.data.sets.reading import laid_out_or_original

PACKED = "esol/esol_graphs.npz"
ORIGINAL = "esol/delaney-processed.csv"
URL = (
    "https://raw.githubusercontent.com/deepchem/deepchem/fbe3b911a94a6eb8c84c1a9e7ac67a472c49ea80/"
    "datasets/delaney-processed.csv"
)
SHA256: str | None = "8c06a76f0c6487d29ab0f903e6a7a7139f189ab3c1178f159c8be8964602f189"
_SOLUBILITY = "measured log solubility in mols per litre"


class ESOL(MoleculeTable):
    """The measured solubility in water of 1,128 molecules ([Delaney 2004](https://doi.org/10.1021/ci034243x), as in
    [MoleculeNet](https://arxiv.org/abs/1703.00564)): the logarithm to base 10, in mol per litre, from -11.6 to 1.58.

    Atoms are nodes with 8 categories (atomic number, degree, charge, hydrogens, aromatic, in a ring, hybridisation,
    chiral tag), bonds are edges in both directions with 4 (kind, conjugated, in a ring, stereo). Split by the number n
    of the row: n % 10 == 0 tests (113), n % 10 == 1 validates (113), the others train (902). MoleculeNet publishes no
    fixed split, so its scores are of others.

    Read is `esol/esol_graphs.npz`, or else `esol/delaney-processed.csv`, which is what is fetched; its SMILES need
    RDKit. Both give the same samples.

    Args:
        data_root: the folder in which `esol` lies; None means the current folder.
        download: fetch the table (97 kB) where neither file is there.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ImportError: only the table is there, and RDKit is not installed.
        ValueError: a file that cannot be read or is not the one expected, a row without a number, arrays that do not
            fit; names file and row.

    Example:
        >>> ESOL().name
        'ESOL'
    """

    prefix = "esol"
    target = "value"

    def __init__(self, *, data_root: str | None = None, download: bool = False) -> None:
        self.data_root = data_root
        self.download = download

    @property
    def facts(self) -> dict[str, Any]:
        """The mean and the deviation of the training targets, and the number of categories of atoms and bonds."""
        values = torch.stack([raw.targets["value"] for raw in self.split("train")]).double()
        return {"target_mean": [float(values.mean())], "target_std": [float(values.std(correction=0))]} | FACTS

    def _table(self) -> tuple[torch.Tensor, Molecules]:
        file = laid_out_or_original(
            PACKED, ORIGINAL, data_root=self.data_root, url=URL, sha256=SHA256, download=self.download
        )
        if file.suffix == ".npz":
            values, molecules = read_arrays(file, ["y"])["y"].astype(np.float32), read_molecules(file)
        else:
            numbers, smiles = _rows(file)
            values, molecules = np.array(numbers, dtype=np.float32), made_molecules(smiles, where=file)
        if values.shape != (len(molecules),):
            raise ValueError(f"{file}: y has shape {list(values.shape)} for {len(molecules)} molecules")
        if not np.isfinite(values).all():
            raise ValueError(f"{file}: row {int(np.isfinite(values).argmin())} has no finite solubility")
        return torch.from_numpy(values), molecules


def _rows(table: Path) -> tuple[list[float], list[str]]:
    """The solubility and the SMILES of each row."""
    numbers, smiles = [], []
    with table.open(encoding="utf-8-sig", newline="") as file:
        for row, fields in enumerate(csv.DictReader(file)):
            number, text = fields.get(_SOLUBILITY), fields.get("smiles")
            if not number or not (text or "").strip():
                raise ValueError(f"{table}: row {row} has no {_SOLUBILITY!r} or no 'smiles'; each row needs both")
            try:
                numbers.append(float(number))
            except ValueError as error:
                raise ValueError(f"{table}: row {row} has the solubility {number!r}, which is no number") from error
            smiles.append(str(text))
    return numbers, smiles
