"""Whether texts are molecules in SMILES."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

_SMILES = re.compile(r"^(Cl|Br|[BCNOPSFIbcnops]|\[[^\]\s]+\]|[-=#$:/\\.()%0-9@+])+$")
_BONDS = re.compile(r"[=#()\[\]1-9]")
_ATOM = re.compile(r"\[[^\]\s]+\]")
_RING = re.compile(r"%[0-9]{2}|[0-9]")


def share_of_molecules(texts: Sequence[str], name: str) -> tuple[float, str]:
    """Which share of the texts are molecules, and how that was found.

    rdkit reads them where it is there; else their letters decide, and whether rings and branches are closed, so that
    names such as `P12` are none. Short formulas are words too: where the column is not called after SMILES, half of the
    texts must have a ring, a branch or a double bond.

    Args:
        texts: some of a column.
        name: of the column.
    """
    named = "smiles" in name.lower()
    bonds = sum(bool(_BONDS.search(each)) for each in texts)
    if not texts or any(" " in each.strip() for each in texts) or not (named or bonds > len(texts) / 2):
        return 0.0, "are SMILES"
    reads = _reader()
    if reads is None:
        return sum(_is_written(each.strip()) for each in texts) / len(texts), "are written as SMILES"
    return sum(reads(each.strip()) is not None for each in texts) / len(texts), "are SMILES that rdkit reads"


def _is_written(text: str) -> bool:
    """Whether a text has the letters of SMILES, each ring twice, and as many branches closed as opened."""
    bare = _ATOM.sub("", text)
    rings = Counter(_RING.findall(bare))
    return bool(_SMILES.match(text)) and bare.count("(") == bare.count(")") and all(n % 2 == 0 for n in rings.values())


def canonical(smiles: str) -> str:
    """The one name of a molecule, however it was written; what is written where rdkit is not there.

    Raises:
        ValueError: rdkit cannot read it.
    """
    reads = _reader()
    if reads is None:
        return smiles
    if (found := reads(smiles)) is None:
        raise ValueError(f"{smiles[:60]!r} is no molecule that rdkit reads")
    return found


def _reader() -> Callable[[str], str | None] | None:
    try:
        from rdkit import Chem, RDLogger  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    RDLogger.DisableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]

    def read(smiles: str) -> str | None:
        molecule = Chem.MolFromSmiles(smiles)  # pyright: ignore[reportAttributeAccessIssue]
        return None if molecule is None else Chem.MolToSmiles(molecule)  # pyright: ignore[reportAttributeAccessIssue]

    return read
