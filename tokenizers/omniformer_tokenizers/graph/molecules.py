"""Molecules as graphs with fixed categories of atoms and bonds, of SMILES by RDKit or as they are kept."""

from typing import Any, Self

from omniformer_tokenizers.graph.nodes import GraphTokenizer
from omniformer_tokenizers.graph.smiles import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES
from omniformer_tokenizers.ranges import Natural

_SIZES = ("node_vocab_sizes", "edge_vocab_sizes")


class MoleculeTokenizer(GraphTokenizer):
    """A molecule as a graph: atoms are nodes, bonds edges, hydrogens are counted at their atoms.

    It is given as SMILES, which RDKit reads, or as a graph with the categories of `smiles.read_smiles`, as data sets
    keep them: both are the same tokens, as they are of a `GraphTokenizer` that a set told the same categories.

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

    def __init__(self, *, max_degree: Natural = 11, laplacian: Natural = 0, random_walk: Natural = 0) -> None:
        super().__init__(
            node_vocab_sizes=ATOM_VOCAB_SIZES,
            edge_vocab_sizes=BOND_VOCAB_SIZES,
            max_degree=max_degree,
            laplacian=laplacian,
            random_walk=random_walk,
        )

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
