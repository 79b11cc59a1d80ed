"""SMILES as graphs with fixed categories of atoms and bonds, by RDKit."""

from typing import Any

from omniformer_tokenizers._checks import need

# Atomic number (0: unknown), degree, charge -8..8, hydrogens, aromatic, in a ring, hybridisation (S, SP, SP2, SP3,
# SP3D, SP3D2, other), chiral tag.
ATOM_VOCAB_SIZES = (119, 12, 17, 9, 2, 2, 7, 9)
# Single, double, triple, aromatic, other; conjugated; in a ring; stereo.
BOND_VOCAB_SIZES = (5, 2, 2, 8)
CHARGE, LOWEST_CHARGE = 2, -8  # the field of an atom that may be negative; categories count from 0
_HYBRIDISATIONS = ("S", "SP", "SP2", "SP3", "SP3D", "SP3D2")
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")


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
