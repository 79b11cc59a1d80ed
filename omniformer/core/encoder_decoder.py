"""Two transformers in a row: one reads a sequence, the other writes another while reading the first."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from omniformer.core.cache import Cache
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Causal, Full, Rule
from omniformer.core.transformer import Transformer


class EncoderDecoder(nn.Module):
    """Encoder and decoder ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), figure 1).

        source ── encoder ── memory
                               │ cross-attention
        target ───────────── decoder ── out

    Args:
        encoder: reads the source.
        decoder: writes the target; its blocks have cross-attention (`CrossBlock`).

    Raises:
        ValueError: no block of the decoder reads a memory.

    Example:
        >>> import torch
        >>> from omniformer.core.block import CrossBlock
        >>> encoder = Transformer(d_model=16, n_layers=1, n_heads=2)
        >>> decoder = Transformer(d_model=16, n_layers=1, n_heads=2, block=CrossBlock)
        >>> source, target = Layout.from_lengths(4, 2), Layout.from_lengths(3, 3)
        >>> model = EncoderDecoder(encoder=encoder, decoder=decoder)
        >>> model(torch.randn(6, 16), source, torch.randn(6, 16), target).shape
        torch.Size([6, 16])
    """

    def __init__(self, *, encoder: Transformer, decoder: Transformer) -> None:
        super().__init__()
        if not decoder.reads_memory:
            raise ValueError("the decoder has no cross-attention; build it with block=CrossBlock")
        self.encoder, self.decoder = encoder, decoder
        self.d_model, self.n_layers = decoder.d_model, decoder.n_layers

    @property
    def kinds(self) -> tuple[nn.Module, nn.Module]:
        """What reads the source, and what reads the target."""
        return self.encoder, self.decoder

    def together(self, tokens: Sequence[tuple[Tensor, Layout]], rule: Rule | None = None, **options: Any) -> Tensor:
        """The decoder's output for tokens of source and target, each with their layout.

        Args:
            tokens: of the source, and of the target.
            rule: who may attend to whom in the target; `Causal()` by default.
            **options: of the decoder: `condition`.
        """
        (source, read), (target, written) = tokens
        return self.decoder(target, written, rule or Causal(), memory=self.encode(source, read), **options)

    def forward(
        self,
        source: Tensor,
        source_layout: Layout,
        target: Tensor,
        target_layout: Layout,
        *,
        source_rule: Rule | None = None,
        target_rule: Rule | None = None,
    ) -> Tensor:
        """The decoder's output for every target token.

        Args:
            source: tokens that the encoder reads.
            source_layout: their samples.
            target: tokens that the decoder has written so far; sample i reads sample i of the source.
            target_layout: their samples.
            source_rule: who may attend to whom in the source; everybody by default.
            target_rule: the same in the target; `Causal()` by default.

        Shapes:
            source `[source tokens, d_model]`, target `[target tokens, d_model]` → as target.
        """
        memory = self.encode(source, source_layout, source_rule)
        return self.decode(target, target_layout, memory, rule=target_rule)

    def encode(self, source: Tensor, layout: Layout, rule: Rule | None = None) -> Memory:
        """The source as a memory for the decoder."""
        return Memory(x=self.encoder(source, layout, rule or Full()), layout=layout)

    def decode(
        self,
        target: Tensor,
        layout: Layout,
        memory: Memory | None = None,
        *,
        rule: Rule | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """The decoder's output for every target token, or for the new ones where there is a cache.

        Args:
            target: target tokens.
            layout: their samples; with a cache, what `cache.extend` gave.
            memory: what `encode` gave; with a cache it is needed in the first step only.
            rule: who may attend to whom in the target; `Causal()` by default.
            cache: keys and values of earlier target tokens and of the memory.
        """
        return self.decoder(target, layout, rule or Causal(), memory=memory, cache=cache)
