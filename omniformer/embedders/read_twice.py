"""A text as an encoder reads it beside the same text as a decoder would write it."""

from dataclasses import replace

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.ranges import Natural
from omniformer.embedders.ids import IdEmbedder
from omniformer.embedders.reads import Reads


class ReadTwice(nn.Module):
    """Two vectors a token, side by side, for the core `Rereading`: of the id itself, as the encoder reads it, and of
    the id before it, as the decoder does ([Lewis et al. 2020](https://arxiv.org/abs/1910.13461), 3.1).

    Args:
        read: embeds what the encoder reads.
        written: embeds what the decoder reads.
        start: the id that the decoder reads first, in front of each text.

    Raises:
        ValueError: `written` has no such id.

    Shapes:
        values int64 `[tokens]` → `[tokens, 2 d_model]`.

    Example:
        >>> from omniformer_tokenizers import Tokens, pack
        >>> packed = pack([Tokens(values=torch.tensor([5, 6]), positions=torch.zeros(2, 1), modality="text")])
        >>> read, written = (IdEmbedder(d_model=4, vocab_size=9) for _ in range(2))
        >>> found = ReadTwice(read=read, written=written, start=2)(packed)
        >>> torch.equal(found[:, 4:], written.table(torch.tensor([2, 5])))
        True
    """

    def __init__(self, *, read: IdEmbedder, written: IdEmbedder, start: Natural) -> None:
        super().__init__()
        checks.not_negative(start=start)
        if start >= (n := written.table.num_embeddings):
            raise ValueError(f"start={start} is no id of a vocabulary of {n}; give one below")
        self.read, self.written, self.start = read, written, start

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        behind = torch.cat([packed.values.new_full((1,), self.start), packed.values])[: len(packed.values)]
        lengths = packed.lengths.to(behind.device)
        behind[(lengths.cumsum(0) - lengths)[lengths > 0]] = self.start
        return torch.cat([self.read(packed), self.written(replace(packed, values=behind))], dim=-1)

    @property
    def max_tokens(self) -> int | None:
        """How many tokens one text may have; None where positions have no end."""
        return self.read.max_tokens

    @property
    def reads(self) -> Reads:
        """As the encoder does."""
        return self.read.reads
