"""Random changes of tokens that are nodes of a graph."""

from dataclasses import replace

import torch
from omniformer_tokenizers import Tokens
from torch import Generator

from omniformer.core import checks
from omniformer.core.ranges import BelowOne
from omniformer.data.augment.augmentation import Augmentation


class DropEdges(Augmentation):
    """Leaves edges out, the two directions of one together
    ([Rong et al. 2020](https://arxiv.org/abs/1907.10903), DropEdge); for `augment_tokens`.

    What the tokenizer computed from all edges, such as degrees, random walks and distances, stays.

    Args:
        p: how likely an edge is left out.

    Raises:
        ValueError: `p` is no share below 1.

    Example:
        >>> from omniformer_tokenizers import GraphTokenizer
        >>> ring = GraphTokenizer()({"n_nodes": 4, "edges": [[0, 1], [1, 2], [2, 3], [3, 0]]})
        >>> DropEdges(p=0.5)(ring, torch.Generator().manual_seed(0)).edges.shape[0]
        2
    """

    def __init__(self, *, p: BelowOne = 0.2) -> None:
        checks.below_one(p=p)
        self.p = p

    def __call__(self, raw: Tokens, generator: Generator) -> Tokens:
        """The tokens with fewer edges.

        Raises:
            ValueError: the tokens have no edges.
        """
        if raw.edges is None:
            raise ValueError(f"{raw.modality}: DropEdges received tokens without edges; leave it to graphs")
        ends, edge = torch.unique(raw.edges.sort(0).values, dim=1, return_inverse=True)
        stays = (torch.rand(ends.shape[1], generator=generator) >= self.p)[edge]
        features = None if raw.edge_features is None else raw.edge_features[stays]
        return replace(raw, edges=raw.edges[:, stays], edge_features=features)


class DropFeatures(Augmentation):
    """Sets features to zero, each on all tokens of a sample at once
    ([Zhu et al. 2020](https://arxiv.org/abs/2006.04131), GRACE); for `augment_tokens`.

    Args:
        p: how likely a feature is.

    Raises:
        ValueError: `p` is no share below 1.

    Example:
        >>> tokens = Tokens(values=torch.ones(3, 8), positions=torch.zeros(3, 0), modality="graph")
        >>> DropFeatures(p=0.5)(tokens, torch.Generator().manual_seed(0)).values.sum(0).unique().tolist()
        [0.0, 3.0]
    """

    def __init__(self, *, p: BelowOne = 0.2) -> None:
        checks.below_one(p=p)
        self.p = p

    def __call__(self, raw: Tokens, generator: Generator) -> Tokens:
        """The tokens with fewer features.

        Raises:
            ValueError: the tokens are ids, of which none means nothing.
        """
        if not raw.values.is_floating_point():
            raise ValueError(f"{raw.modality}: DropFeatures received ids, of which none means nothing; use numbers")
        stays = torch.rand(raw.values.shape[1], generator=generator) >= self.p
        return replace(raw, values=raw.values * stays)
