"""Nodes of a graph, with what is known of their place in it."""

from collections.abc import Sequence

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.ranges import BelowOne, Count, Natural


class NodeEmbedder(nn.Module):
    """The sum of what a node is and where it stands: categories, numbers, degree, Laplacian eigenvectors
    ([Dwivedi and Bresson 2020](https://arxiv.org/abs/2012.09699)), random-walk return probabilities
    ([Dwivedi et al. 2021](https://arxiv.org/abs/2110.07875)).

    A node has no coordinates, so that the order of nodes never matters.

    Args:
        d_model: width of the core.
        vocab_sizes: number of values of each categorical field.
        features: continuous numbers of a node.
        max_degree: largest degree told apart; 0 leaves degrees out
            ([Ying et al. 2021](https://arxiv.org/abs/2106.05234), centrality encoding).
        laplacian: Laplacian eigenvectors given; 0 leaves them out.
        random_walk: random-walk steps given; 0 leaves them out.
        dropout: share of features of the vectors set to zero in training.
        input_dropout: share of a node's continuous numbers set to zero in training: what words a paper has, for
            example, when few papers are labelled ([Kipf and Welling 2017](https://arxiv.org/abs/1609.02907), 5.2).
        activation: of the vectors, "relu" for example, which makes the sum the hidden layer of APPNP and GPR-GNN
            ([Gasteiger et al. 2019](https://arxiv.org/abs/1810.05997), 4); none by default.

    Shapes:
        values int64 `[tokens, fields]` or float `[tokens, features]` → `[tokens, d_model]`.

    Example:
        >>> from omniformer_tokenizers import GraphTokenizer, pack
        >>> tokenizer = GraphTokenizer(random_walk=4)
        >>> packed = pack([tokenizer({"n_nodes": 3, "edges": [[0, 1], [1, 2]]})])
        >>> NodeEmbedder(d_model=8, vocab_sizes=[1], random_walk=4)(packed).shape
        torch.Size([3, 8])
    """

    not_exported = "graphs have edges, whose lists and kernels depend on the graph at hand"

    def __init__(
        self,
        *,
        d_model: Count,
        vocab_sizes: Sequence[int] = (),
        features: int = 0,
        max_degree: Natural = 0,
        laplacian: Natural = 0,
        random_walk: Natural = 0,
        dropout: BelowOne = 0.0,
        input_dropout: BelowOne = 0.0,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, **{f"vocab_sizes[{i}]": size for i, size in enumerate(vocab_sizes)})
        checks.not_negative(features=features, max_degree=max_degree, laplacian=laplacian, random_walk=random_walk)
        self.fields = nn.ModuleList(nn.Embedding(size, d_model) for size in vocab_sizes)
        self.degree = nn.Embedding(max_degree + 1, d_model) if max_degree else None
        widths = {"continuous": features, "laplacian": laplacian, "random_walk": random_walk}
        self.maps = nn.ModuleDict({name: nn.Linear(width, d_model) for name, width in widths.items() if width})
        if not (self.fields or self.degree or self.maps):
            raise ValueError(
                "a node must have at least one of vocab_sizes, features, max_degree, laplacian, random_walk"
            )
        checks.below_one(dropout=dropout, input_dropout=input_dropout)
        self.dropout, self.input_dropout = Dropout(dropout), Dropout(input_dropout)
        self.activation = nn.Identity() if activation is None else activation_of(activation)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all nodes."""
        terms = [table(packed.values[:, i]) for i, table in enumerate(self.fields)]
        if self.degree is not None:
            terms.append(self.degree(packed.features["degree"]))
        for name, linear in self.maps.items():
            values = packed.values if name == "continuous" and not self.fields else packed.features[name]
            terms.append(linear(self.input_dropout(values.float()) if name == "continuous" else values.float()))
        return self.dropout(self.activation(torch.stack(terms).sum(0)))

    def reset_parameters(self) -> None:
        """Draws tables and maps anew."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.5)
            elif isinstance(module, nn.Linear):
                linear_(module, module.in_features**-0.5)
