"""Molecules as graphs with fixed categories of atoms and bonds: read from arrays, or made from SMILES by RDKit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from omniformer_tokenizers.graph.smiles import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES, CHARGE, LOWEST_CHARGE, graph_of

from omniformer.data.sets.arrays import array_names, read_arrays
from omniformer.data.table.packed_graphs import PackedGraphs
from omniformer.data.table.rows import BadRowError, Row, Rows
from omniformer.terminal.progress import counted

# What a tokenizer of these graphs is told, by the names of its arguments.
_FACTS = {"node_vocab_sizes": ATOM_VOCAB_SIZES, "edge_vocab_sizes": BOND_VOCAB_SIZES}
_CHIRAL_TAG = 7  # depends on the order in which a molecule was written
_ARRAYS = ("node_feat", "node_ptr", "edge_index", "edge_feat", "edge_ptr", "valid")


class MoleculeRows(Rows):
    """The molecules of a table of SMILES as graphs, a row for each of its rows.

    The columns are `graph`, None of a molecule that RDKit cannot read; `valid`, whether it can; `alike`, a name that
    molecules of the same atoms and bonds share, however they were written: mirror images too; and `scaffold`, the rings
    and what joins them (Bemis and Murcko 1996), for which RDKit is needed whenever it is asked for.

    Args:
        table: with the column `smiles` or `SMILES`.
        file: an npz file of the graphs; where it is not there, RDKit makes them.
        prefix: with which the names of its arrays begin.

    Raises:
        ImportError: the graphs are not there, and RDKit is not installed.
        ValueError: a file that cannot be read, graphs of other molecules than the table's, a row without SMILES; names
            the file.
    """

    def __init__(self, table: Rows, file: Path, prefix: str = "") -> None:
        self.file = file if file.is_file() else table.file
        self.name, self.table = str(self.file), table
        if file.is_file():
            self.molecules = read_molecules(file, prefix=prefix)
            _check_same(table, file, prefix, len(self.molecules))
        else:
            self.molecules = made_molecules(_smiles(table), where=Path(table.file))

    @property
    def columns(self) -> tuple[str, ...]:
        return ("graph", "valid", "alike", "scaffold")

    def __len__(self) -> int:
        return len(self.molecules)

    def row(self, index: int) -> Row:
        return self._row(index, ("graph", "valid", "alike"))

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        return (self._row(index, columns) for index in range(len(self)))

    def heavy(self) -> frozenset[str]:
        return frozenset({"graph"})

    def facts(self) -> Mapping[str, Any]:
        return _FACTS

    def _row(self, index: int, columns: Sequence[str]) -> Row:
        valid = self.molecules.valid[index]
        row: dict[str, Any] = {"valid": valid}
        if "graph" in columns:
            row["graph"] = self.molecules.graph(index) if valid else None
        if "alike" in columns:
            row["alike"] = self._alike[index]
        if "scaffold" in columns:
            row["scaffold"] = self._scaffolds[index]
        return row

    @cached_property
    def _alike(self) -> list[str]:
        return self.molecules.graphs.alike(without=[_CHIRAL_TAG])

    @cached_property
    def _scaffolds(self) -> list[str]:
        made = _rdkit("rdkit.Chem.Scaffolds.MurckoScaffold", self.table.file)
        found = _parsed(_smiles(self.table), Path(self.table.file))
        # Chains have no rings; they do not all belong together for that.
        return [
            "" if each is None else made.MurckoScaffoldSmiles(mol=each) or f"chain {number}"
            for number, each in enumerate(found)
        ]


def _smiles(table: Rows) -> list[str]:
    column = next((name for name in table.columns if name.lower() == "smiles"), None)
    if column is None:
        raise ValueError(
            f"{table.file} has no column 'smiles' to make graphs of; it has {', '.join(table.columns)}; rename the one "
            "that holds them, or predict with --columns '{COLUMN: graph}'"
        )
    found = []
    for index, row in enumerate(table.each([column])):
        if isinstance(row, BadRowError):
            raise row
        if not (text := str(row[column] or "").strip()):
            raise ValueError(f"{table.where(index)}: has no SMILES")
        found.append(text.replace("\\\\", "\\"))  # some tables double the backslashes of bonds
    return found


def _check_same(table: Rows, file: Path, prefix: str, n: int) -> None:
    """Refuses graphs of other molecules than the table's, as far as columns that both have tell."""
    if n != len(table):
        raise ValueError(f"{file} holds {n} molecules for the {len(table)} rows of {table.file}; they must pair up")
    both = {f"{prefix}{name.lower()}": name for name in table.columns}
    for array in [name for name in array_names(file) if name in both]:
        cells = [None if isinstance(row, BadRowError) else str(row[both[array]]) for row in table.each([both[array]])]
        if cells != [str(each) for each in read_arrays(file, [array])[array].tolist()]:
            raise ValueError(f"{file} holds other molecules than {table.file}: {array} is not its column {both[array]}")


class Molecules:
    """Molecules, and which of them could be read.

    Args:
        where: the file they come from, for messages.
        arrays: `node_feat`, `node_ptr`, `edge_index`, `edge_feat`, `edge_ptr` and `valid`, as `read_molecules` and
            `made_molecules` give them.

    Raises:
        ValueError: arrays of different lengths, or categories out of range; names the file and the molecule.

    Example:
        >>> methane = {"node_feat": [[6, 0, 0, 4, 0, 0, 3, 0]], "node_ptr": [0, 1], "valid": [True]}
        >>> no_bonds = {"edge_index": [[], []], "edge_feat": np.zeros((0, 4)), "edge_ptr": [0, 0]}
        >>> molecules = Molecules(where=Path("methane.npz"), arrays=methane | no_bonds)
        >>> molecules.graph(0)["node_features"].tolist()
        [[6, 0, 8, 4, 0, 0, 3, 0]]
    """

    def __init__(self, *, where: Path, arrays: Mapping[str, ArrayLike]) -> None:
        atoms = np.asarray(arrays["node_feat"], dtype=np.int64)
        if atoms.ndim == 2 and atoms.shape[1] > CHARGE:
            atoms = atoms.copy()
            atoms[:, CHARGE] -= LOWEST_CHARGE  # categories count from 0
        self.graphs = PackedGraphs(
            where=where,
            node_ptr=arrays["node_ptr"],
            edge_ptr=arrays["edge_ptr"],
            edge_index=arrays["edge_index"],
            node_features=atoms,
            edge_features=arrays["edge_feat"],
            node_vocab_sizes=ATOM_VOCAB_SIZES,
            edge_vocab_sizes=BOND_VOCAB_SIZES,
        )
        self.valid: list[bool] = np.asarray(arrays["valid"], dtype=bool).tolist()
        if len(self.valid) != len(self.graphs):
            raise ValueError(f"{where}: valid has {len(self.valid)} entries for {len(self.graphs)} molecules")

    def __len__(self) -> int:
        return len(self.graphs)

    def graph(self, index: int) -> dict[str, Any]:
        """One molecule as `GraphTokenizer` takes it, with 8 categories an atom and 4 a bond."""
        return self.graphs.graph(index)


def read_molecules(file: Path, *, prefix: str = "") -> Molecules:
    """The molecules of an npz file, whose arrays begin with `prefix`.

    Raises:
        ValueError: the file cannot be read or does not fit; names it.
    """
    arrays = read_arrays(file, [prefix + name for name in _ARRAYS])
    return Molecules(where=file, arrays={name: arrays[prefix + name] for name in _ARRAYS})


def made_molecules(smiles: Sequence[str], *, where: Path) -> Molecules:
    """The molecules that SMILES strings describe, by RDKit; `valid` tells which it could read.

    With RDKit 2026.9.1 the 15,743 molecules of ESOL, Tox21 and ChEBI-20 come out exactly as in their npz files; other
    versions may see other aromatic rings, stereo centres or broken strings.

    Args:
        smiles: one string a molecule.
        where: the file they come from, for messages.

    Raises:
        ImportError: RDKit is not installed.
    """
    found = _parsed(counted(smiles, f"reading the molecules of {where}", len(smiles)), where)
    atoms, ends, bonds, n_atoms, n_bonds = [], [], [], [0], [0]
    for molecule in found:
        if molecule is not None:
            first, graph = len(atoms), graph_of(molecule)
            atoms += graph["node_features"]
            ends += [(first + a, first + b) for a, b in graph["edges"]]
            bonds += graph["edge_features"]
        n_atoms.append(len(atoms))
        n_bonds.append(len(ends))
    kept = np.array(atoms, dtype=np.int64).reshape(-1, len(ATOM_VOCAB_SIZES))
    kept[:, CHARGE] += LOWEST_CHARGE  # files hold charges, not categories
    arrays = {
        "node_feat": kept,
        "edge_index": np.array(ends, dtype=np.int64).reshape(-1, 2).T,
        "edge_feat": np.array(bonds, dtype=np.int64).reshape(-1, len(BOND_VOCAB_SIZES)),
        "node_ptr": np.array(n_atoms),
        "edge_ptr": np.array(n_bonds),
        "valid": np.array([molecule is not None for molecule in found], dtype=bool),
    }
    return Molecules(where=where, arrays=arrays)


def _parsed(smiles: Iterable[str], where: Path | str) -> list[Any]:
    """RDKit's molecules; None of what it cannot read."""
    chem, logs = _rdkit("rdkit.Chem", where), _rdkit("rdkit.rdBase", where)
    with logs.BlockLogs():
        return [chem.MolFromSmiles(each.strip()) for each in smiles]


def _rdkit(module: str, where: Path | str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{where} holds SMILES, which RDKit reads: pip install rdkit, or put the graphs (npz) beside it"
        ) from error
