"""Molecules as graphs with fixed categories of atoms and bonds: read from arrays, or made from SMILES by RDKit."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.graphs_npz import PackedGraphs

# Atomic number (0: unknown), degree, charge -8..8, hydrogens, aromatic, in a ring, hybridisation (S, SP, SP2, SP3,
# SP3D, SP3D2, other), chiral tag.
ATOM_VOCAB_SIZES = (119, 12, 17, 9, 2, 2, 7, 9)
# Single, double, triple, aromatic, other; conjugated; in a ring; stereo.
BOND_VOCAB_SIZES = (5, 2, 2, 8)
# What a tokenizer of these graphs is told; the sets repeat it in their facts, by the names of its arguments.
FACTS = {"node_vocab_sizes": ATOM_VOCAB_SIZES, "edge_vocab_sizes": BOND_VOCAB_SIZES}
_CHARGE, _LOWEST_CHARGE = 2, -8
_HYBRIDISATIONS = ("S", "SP", "SP2", "SP3", "SP3D", "SP3D2")
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_ARRAYS = ("node_feat", "node_ptr", "edge_index", "edge_feat", "edge_ptr", "valid")


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
        if atoms.ndim == 2 and atoms.shape[1] > _CHARGE:
            atoms = atoms.copy()
            atoms[:, _CHARGE] -= _LOWEST_CHARGE  # categories count from 0
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
    try:
        chem, logs = import_module("rdkit.Chem"), import_module("rdkit.rdBase")
    except ImportError as error:
        raise ImportError(
            f"{where} holds SMILES, which RDKit reads: pip install rdkit, or put the graphs (npz) beside it"
        ) from error
    with logs.BlockLogs():
        found = [chem.MolFromSmiles(each.strip()) for each in smiles]
    atoms, ends, bonds, n_atoms, n_bonds = [], [], [], [0], [0]
    for molecule in found:
        first = len(atoms)
        if molecule is not None:
            atoms += [_atom(atom) for atom in molecule.GetAtoms()]
            for bond in molecule.GetBonds():
                a, b = first + bond.GetBeginAtomIdx(), first + bond.GetEndAtomIdx()
                ends += [(a, b), (b, a)]
                bonds += [_bond(bond)] * 2
        n_atoms.append(len(atoms))
        n_bonds.append(len(ends))
    arrays = {
        "node_feat": np.array(atoms, dtype=np.int64).reshape(-1, len(ATOM_VOCAB_SIZES)),
        "edge_index": np.array(ends, dtype=np.int64).reshape(-1, 2).T,
        "edge_feat": np.array(bonds, dtype=np.int64).reshape(-1, len(BOND_VOCAB_SIZES)),
        "node_ptr": np.array(n_atoms),
        "edge_ptr": np.array(n_bonds),
        "valid": np.array([molecule is not None for molecule in found], dtype=bool),
    }
    return Molecules(where=where, arrays=arrays)


def _atom(atom: Any) -> tuple[int, ...]:
    return (
        atom.GetAtomicNum(),
        atom.GetDegree(),
        atom.GetFormalCharge(),
        atom.GetTotalNumHs(),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
        _code(_HYBRIDISATIONS, atom.GetHybridization()),
        int(atom.GetChiralTag()),
    )


def _bond(bond: Any) -> tuple[int, ...]:
    return (
        _code(_BONDS, bond.GetBondType()),
        int(bond.GetIsConjugated()),
        int(bond.IsInRing()),
        int(bond.GetStereo()),
    )


def _code(names: tuple[str, ...], kind: Any) -> int:
    """The place of a name among the known ones; the last place for all others."""
    return names.index(str(kind)) if str(kind) in names else len(names)
