"""Molecules as graphs, from SMILES; needs RDKit."""

from typing import Any

from omniformer_tokenizers._checks import need
from omniformer_tokenizers.graph.input import Graph
from omniformer_tokenizers.graph.nodes import GraphTokenizer
from omniformer_tokenizers.ranges import Natural

# Atomic number (0: unknown), degree, charge -8..8, hydrogens, radical electrons, hybridisation, aromatic, in a ring.
ATOM_VOCAB_SIZES = (119, 12, 17, 9, 5, 9, 2, 2)
# Bond type, stereo, conjugated.
BOND_VOCAB_SIZES = (22, 8, 2)


class MoleculeTokenizer(GraphTokenizer):
    """A molecule, given as SMILES, as a graph: atoms are nodes, bonds edges, hydrogens are counted at their atoms.

    Args:
        max_degree: see `GraphTokenizer`.
        laplacian: see `GraphTokenizer`.
        random_walk: see `GraphTokenizer`.

    Raises:
        ValueError: as `GraphTokenizer`.
        ImportError: RDKit is not installed.
    """

    reads_strings = True

    def __init__(self, *, max_degree: Natural = 11, laplacian: Natural = 0, random_walk: Natural = 0) -> None:
        need("rdkit", "reading SMILES")
        super().__init__(
            node_vocab_sizes=ATOM_VOCAB_SIZES,
            edge_vocab_sizes=BOND_VOCAB_SIZES,
            max_degree=max_degree,
            laplacian=laplacian,
            random_walk=random_walk,
        )

    def _read(self, raw: str) -> Graph:
        return super()._read(read_smiles(raw))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("max_degree", "laplacian", "random_walk")}


def read_smiles(smiles: str) -> dict[str, Any]:
    """The graph of a molecule, as `GraphTokenizer` takes it.

    Raises:
        TypeError: not a string.
        ValueError: not valid SMILES; tells what RDKit found wrong.
    """
    if not isinstance(smiles, str):
        raise TypeError(f"received {type(smiles).__name__} where SMILES was expected; pass a str")
    chem = need("rdkit.Chem", "reading SMILES")
    logger = need("rdkit.rdBase", "reading SMILES")
    with logger.BlockLogs():
        molecule = chem.MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError(f"{smiles!r} is not a valid SMILES string")
    return {
        "n_nodes": molecule.GetNumAtoms(),
        "edges": [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()],
        "node_features": [_atom(atom) for atom in molecule.GetAtoms()],
        "edge_features": [
            (int(bond.GetBondType()), int(bond.GetStereo()), int(bond.GetIsConjugated()))
            for bond in molecule.GetBonds()
        ],
    }


def _atom(atom: Any) -> tuple[int, ...]:
    fields = (
        atom.GetAtomicNum(),
        atom.GetDegree(),
        atom.GetFormalCharge() + 8,
        atom.GetTotalNumHs(),
        atom.GetNumRadicalElectrons(),
        int(atom.GetHybridization()),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
    )
    return tuple(max(0, min(value, size - 1)) for value, size in zip(fields, ATOM_VOCAB_SIZES, strict=True))
