"""Molecules as graphs with fixed categories of atoms and bonds, of SMILES by RDKit or as they are kept."""

from typing import Any, Self

from omniformer_tokenizers._checks import need
from omniformer_tokenizers.graph.input import Graph
from omniformer_tokenizers.graph.nodes import GraphTokenizer
from omniformer_tokenizers.ranges import Natural

# Atomic number (0: unknown), degree, charge -8..8, hydrogens, aromatic, in a ring, hybridisation (S, SP, SP2, SP3,
# SP3D, SP3D2, other), chiral tag.
ATOM_VOCAB_SIZES = (119, 12, 17, 9, 2, 2, 7, 9)
# Single, double, triple, aromatic, other; conjugated; in a ring; stereo.
BOND_VOCAB_SIZES = (5, 2, 2, 8)
CHARGE, LOWEST_CHARGE = 2, -8  # the field of an atom that may be negative; categories count from 0
_HYBRIDISATIONS = ("S", "SP", "SP2", "SP3", "SP3D", "SP3D2")
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_SIZES = ("node_vocab_sizes", "edge_vocab_sizes")


class MoleculeTokenizer(GraphTokenizer):
    """A molecule as a graph: atoms are nodes, bonds edges, hydrogens are counted at their atoms.

    It is given as SMILES, which RDKit reads, or as a graph with the categories of `read_smiles`, as data sets keep
    them: both are the same tokens, so that a model which learned from such a set reads SMILES as well.

    Args:
        max_degree: see `GraphTokenizer`; atoms have few neighbours.
        laplacian: see `GraphTokenizer`.
        random_walk: see `GraphTokenizer`.

    Raises:
        ValueError: as `GraphTokenizer`.

    Example:
        >>> methane = {"n_nodes": 1, "edges": [], "node_features": [[6, 0, 8, 4, 0, 0, 3, 0]], "edge_features": []}
        >>> MoleculeTokenizer()(methane).values.tolist()  # as of "C", where RDKit is installed
        [[6, 0, 8, 4, 0, 0, 3, 0]]
    """

    reads_strings = True

    def __init__(self, *, max_degree: Natural = 11, laplacian: Natural = 0, random_walk: Natural = 0) -> None:
        super().__init__(
            node_vocab_sizes=ATOM_VOCAB_SIZES,
            edge_vocab_sizes=BOND_VOCAB_SIZES,
            max_degree=max_degree,
            laplacian=laplacian,
            random_walk=random_walk,
        )

    def _read(self, raw: Any) -> Graph:
        return super()._read(read_smiles(raw) if isinstance(raw, str) else raw)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, and the categories that a saved tokenizer was made with."""
        sizes = {name: list(getattr(self, name)) for name in _SIZES}
        return {name: getattr(self, name) for name in ("max_degree", "laplacian", "random_walk")} | sizes

    @classmethod
    def _from_config(cls, config: dict[str, Any]) -> Self:
        """Refuses one of other categories: its model would take an atom's ring for its hybridisation."""
        sizes = tuple(config.pop(name, None) for name in _SIZES)
        if sizes != (list(ATOM_VOCAB_SIZES), list(BOND_VOCAB_SIZES)):
            raise ValueError(
                f"it is of categories {sizes[0] or 'of an earlier release'} of atoms; this release reads "
                f"{list(ATOM_VOCAB_SIZES)} and {list(BOND_VOCAB_SIZES)} of bonds: train again"
            )
        return super()._from_config(config)


def read_smiles(smiles: str) -> dict[str, Any]:
    """The graph of a molecule with 8 categories an atom and 4 a bond, as `GraphTokenizer` takes it.

    Raises:
        TypeError: not a string.
        ValueError: not valid SMILES; tells what RDKit found wrong.
        ImportError: RDKit is not installed.
    """
    if not isinstance(smiles, str):
        raise TypeError(f"received {type(smiles).__name__} where SMILES was expected; pass a str")
    chem = need("rdkit.Chem", "reading SMILES")
    logger = need("rdkit.rdBase", "reading SMILES")
    with logger.BlockLogs():
        molecule = chem.MolFromSmiles(smiles.strip())
    if molecule is None:
        raise ValueError(f"{smiles!r} is not a valid SMILES string")
    return graph_of(molecule)


def graph_of(molecule: Any) -> dict[str, Any]:
    """The same of a molecule that RDKit has read: every bond in both directions, one after the other.

    Args:
        molecule: of RDKit.
    """
    bonds = list(molecule.GetBonds())
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bonds]
    return {
        "n_nodes": molecule.GetNumAtoms(),
        "edges": [pair for a, b in ends for pair in ((a, b), (b, a))],
        "node_features": [_atom(atom) for atom in molecule.GetAtoms()],
        "edge_features": [row for bond in bonds for row in [_bond(bond)] * 2],
    }


def _atom(atom: Any) -> tuple[int, ...]:
    return (
        atom.GetAtomicNum(),
        atom.GetDegree(),
        atom.GetFormalCharge() - LOWEST_CHARGE,
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
