"""What is known of the nodes and edges of graphs, once all of them were seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class GraphFacts:
    """What a tokenizer of graphs must be told: of whole numbers how many there are in each column, of others how many
    columns.

    Example:
        >>> facts = GraphFacts()
        >>> facts.add({"n_nodes": 2, "edges": [], "node_features": [[0, 3], [1, 0]]})
        >>> facts.told()
        {'node_vocab_sizes': (2, 4)}
    """

    tops: dict[str, Tensor] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)

    def add(self, graph: Mapping[str, Any]) -> None:
        """Notes one graph; what is wrong in it is told by its tokenizer."""
        for kind in ("node", "edge"):
            rows = graph.get(f"{kind}_features")
            if not rows:
                continue
            try:
                numbers = torch.as_tensor(rows)
            except (TypeError, ValueError, RuntimeError):  # no table of numbers: the tokenizer names the sample
                continue
            numbers = numbers[:, None] if numbers.ndim == 1 else numbers
            if numbers.is_floating_point():
                self.widths[kind] = numbers.shape[1]
            elif kind not in self.tops or len(self.tops[kind]) == numbers.shape[1]:
                top = numbers.amax(0)
                self.tops[kind] = torch.maximum(self.tops.get(kind, top), top)

    def told(self) -> dict[str, Any]:
        """The facts, by the names of the tokenizer's arguments."""
        numbers = {f"{kind}_features": width for kind, width in self.widths.items()}
        categories = {
            f"{kind}_vocab_sizes": tuple((1 + top).tolist())
            for kind, top in self.tops.items()
            if kind not in self.widths
        }
        return numbers | categories
