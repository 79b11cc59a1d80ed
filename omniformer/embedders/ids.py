"""Tokens that are numbers of a vocabulary: text, characters, bytes, codebook entries, special tokens."""

from collections.abc import Callable

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.positions import Learned
from omniformer.core.ranges import BelowOne, Count, Natural, NotNegative, Positive
from omniformer.embedders.reads import Reads


class IdEmbedder(nn.Module):
    """A vector for each id, plus its position's where positions are added
    ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.4).

    Args:
        d_model: width of the core.
        vocab_size: number of ids.
        axes: coordinates of a token, for `position`.
        position: makes positions to add, called with `d_model` and `n_axes`; none by default, since the default core
            rotates queries and keys instead.
        segments: kinds of segments told apart by a vector of their own, by the feature `segment` of the tokens, 0 where
            they have none ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), 3: first and second sentence); 0 for
            no such vectors.
        norm: makes a norm after the sum, called with `d_model`, as BERT and BART have one; none by default.
        scale: factor of the vectors; the first transformer used `sqrt(d_model)`.
        dropout: share of features set to zero in training.
        init_std: deviation of the initial vectors; 0.02 as in GPT-2, which fits an output layer tied to this table.

    Shapes:
        values int64 `[tokens]` → `[tokens, d_model]`.

    Example:
        >>> from omniformer_tokenizers import Tokens, pack
        >>> packed = pack([Tokens(values=torch.tensor([1, 2]), positions=torch.zeros(2, 1), modality="text")])
        >>> IdEmbedder(d_model=8, vocab_size=10)(packed).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        vocab_size: Count,
        axes: Natural = 1,
        position: Callable[..., nn.Module] | None = None,
        segments: Natural = 0,
        norm: Callable[..., nn.Module] | None = None,
        scale: NotNegative = 1.0,
        dropout: BelowOne = 0.0,
        init_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, vocab_size=vocab_size)
        checks.not_negative(segments=segments, axes=axes)
        checks.positive(init_std=init_std)
        self.table = nn.Embedding(vocab_size, d_model)
        self.position = None if position is None else position(d_model=d_model, n_axes=axes)
        self.segments = nn.Embedding(segments, d_model) if segments else None
        self.norm = nn.Identity() if norm is None else norm(d_model=d_model)
        self.scale, self.init_std = scale, init_std
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        x = self.vectors(packed)
        if self.position is not None:
            x = x + self.position(packed.positions).to(x.dtype)
        if self.segments is not None:
            kinds = packed.features.get("segment")
            x = x + self.segments(torch.zeros_like(packed.values) if kinds is None else kinds)
        return self.dropout(self.norm(x))

    def vectors(self, packed: Packed) -> Tensor:
        """What the tokens are, before it is said where they stand."""
        x = self.table(packed.values)
        return x if self.scale == 1 else x * self.scale

    @property
    def max_tokens(self) -> int | None:
        """How many tokens one text may have; None where positions have no end."""
        places = self.position
        if not isinstance(places, Learned) or places.coordinates != "index" or len(places.sizes) != 1:
            return None
        return places.sizes[0] - places.first

    @property
    def reads(self) -> Reads:
        """Ids, and segments where it tells them apart."""
        features = {} if self.segments is None else {"segment": self.segments.num_embeddings}
        return Reads(
            ids=self.table.num_embeddings, position=self.position, features=features, max_tokens=self.max_tokens
        )

    def reset_parameters(self) -> None:
        """Draws the tables anew."""
        for table in (self.table, self.segments):
            if table is not None:
                nn.init.normal_(table.weight, std=self.init_std)
