"""Molecules, and what an English sentence or two say of them."""

import csv
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.molecules import FACTS, Molecules, made_molecules, read_molecules
from omniformer.data.sets.reading import laid_out_or_original, text_in
from omniformer.data.source import Raw, Source, Split, resolve

Part = Literal["validation", "test"]
GRAPHS = "chebi20/chebi20_graphs.npz"
PACKED = "chebi20/{part}.tsv.gz"
ORIGINAL = "chebi20/{part}.txt"
URL = (
    "https://raw.githubusercontent.com/blender-nlp/MolT5/754f9bffa4a638e2f1386d0ca19b5c3ed0a5b4aa/"
    "ChEBI-20_data/{part}.txt"
)
_COLUMNS = ["CID", "SMILES", "description"]


class ChEBI20(Source):
    """Molecules with their descriptions from the dictionary ChEBI
    ([Edwards et al. 2021](https://aclanthology.org/2021.emnlp-main.47/), ChEBI-20): 6,601 pairs, 44 words each.

    A sample holds the molecule, as a graph in the same form as `ESOL`, and the description as text. The training part
    of ChEBI-20, 26,000 pairs, is left out for its size. In its stead the published validation part is divided by the
    number n of the row: n % 10 == 0 validates (331), the others train (2,970). Test is the published test part
    (3,300). Scores are therefore lower than published ones, which had nine times as many pairs to learn from.

    Read are `chebi20/{validation,test}.tsv.gz` and `chebi20/chebi20_graphs.npz`. The original tables,
    `chebi20/{validation,test}.txt`, take the place of missing tables and are what is fetched; without the graphs,
    RDKit makes them from the SMILES. All routes give the same samples.

    Args:
        data_root: the folder in which `chebi20` lies; None means the current folder.
        download: fetch the tables (3 MB) where they are missing.

    Raises:
        FileNotFoundError: a table is missing, and `download` is off.
        ImportError: the graphs are missing, and RDKit is not installed.
        ValueError: a file that cannot be read, an empty description, graphs of other molecules than the table's; names
            file and row.

    Example:
        >>> ChEBI20().facts["edge_vocab_sizes"]
        (5, 2, 2, 8)
    """

    modalities = ("graph", "text")

    def __init__(self, *, data_root: str | None = None, download: bool = False) -> None:
        self.data_root = data_root
        self.download = download

    @property
    def facts(self) -> dict[str, Any]:
        """The number of categories of atoms and bonds."""
        return dict(FACTS)

    @property
    def n_dropped(self) -> int:
        """How many rows hold no molecule that RDKit can read, and are in no split."""
        return sum(molecules.valid.count(False) for _, molecules in self._parts.values())

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in the order of the table."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        splits: dict[Split, list[Raw]] = {"train": [], "val": [], "test": []}
        for part, (descriptions, molecules) in self._parts.items():
            for row, description in enumerate(descriptions):
                if molecules.valid[row]:
                    name: Split = "test" if part == "test" else "val" if row % 10 == 0 else "train"
                    splits[name].append(
                        Raw(
                            id=f"chebi20/{name}/{row}",
                            contents={"graph": molecules.graph(row), "text": description},
                        )
                    )
        return splits

    @cached_property
    def _parts(self) -> dict[Part, tuple[list[str], Molecules]]:
        return {part: self._read(part) for part in ("validation", "test")}

    def _read(self, part: Part) -> tuple[list[str], Molecules]:
        """The descriptions and the molecules of a published part."""
        file = laid_out_or_original(
            PACKED.format(part=part),
            ORIGINAL.format(part=part),
            data_root=self.data_root,
            url=URL.format(part=part),
            download=self.download,
        )
        numbers, smiles, descriptions = _rows(file)
        graphs = resolve(GRAPHS, self.data_root)
        if not graphs.is_file():
            return descriptions, made_molecules(smiles, where=file)
        known = read_arrays(graphs, [f"{part}_cid"])[f"{part}_cid"]
        if not np.array_equal(known, numbers):
            raise ValueError(f"{graphs} holds other molecules than {file}: {part}_cid is not its column CID")
        molecules = read_molecules(graphs, prefix=f"{part}_")
        if len(molecules) != len(numbers):
            raise ValueError(f"{graphs} holds {len(molecules)} molecules for the {len(numbers)} rows of {file}")
        return descriptions, molecules


def _rows(table: Path) -> tuple[list[int], list[str], list[str]]:
    """The columns of a table: the number of the substance, SMILES, description."""
    numbers, smiles, descriptions = [], [], []
    reader = csv.DictReader(io.StringIO(text_in(table)), delimiter="\t", quoting=csv.QUOTE_NONE)
    if reader.fieldnames != _COLUMNS:
        raise ValueError(f"{table} has the columns {reader.fieldnames}; expected {_COLUMNS}")
    for row, fields in enumerate(reader):
        number, text, description = (str(fields[name] or "").strip() for name in _COLUMNS)
        if not number.isdecimal() or not text or not description:
            raise ValueError(f"{table}: row {row} lacks the CID, the SMILES or the description")
        numbers.append(int(number))
        smiles.append(text.replace("\\\\", "\\"))  # about 15 % of the rows double the backslashes of bonds
        descriptions.append(description)
    return numbers, smiles, descriptions
