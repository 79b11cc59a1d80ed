"""An encoder and a decoder that read the same text, of which the decoder's view is classified."""

from torch import Tensor, nn

from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Rule
from omniformer.core.transformer import Transformer


class Rereading(nn.Module):
    """Both halves of an `EncoderDecoder` over one text: the decoder reads it again from left to right, beside the
    encoder's view of the whole ([Lewis et al. 2020](https://arxiv.org/abs/1910.13461), 3.1). What results is read like
    the output of an encoder, with its last token as the one that has seen everything twice.

    Args:
        encoder: reads the text.
        decoder: reads it again; its blocks have cross-attention (`CrossBlock`).

    Raises:
        ValueError: no block of the decoder reads a memory, or the two differ in width.

    Shapes:
        x `[tokens, 2 d_model]`, the encoder's input beside the decoder's, as `ReadTwice` makes it →
        `[tokens, d_model]`.

    Example:
        >>> import torch
        >>> from omniformer.core.block import CrossBlock
        >>> sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2}
        >>> core = Rereading(encoder=Transformer(**sizes), decoder=Transformer(**sizes, block=CrossBlock))
        >>> core(torch.randn(6, 32), Layout.from_lengths(4, 2)).shape
        torch.Size([6, 16])
    """

    def __init__(self, *, encoder: Transformer, decoder: Transformer) -> None:
        super().__init__()
        if encoder.d_model != decoder.d_model:
            raise ValueError(
                f"the encoder has d_model={encoder.d_model}, the decoder {decoder.d_model}; give one width"
            )
        self.pair = EncoderDecoder(encoder=encoder, decoder=decoder)
        self.d_model, self.n_layers, self.reads_memory = decoder.d_model, decoder.n_layers, False

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        rule: Rule | None = None,
        *,
        stages: dict[str, Tensor] | None = None,
        losses: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """The decoder's output for every token.

        Args:
            x: both inputs side by side.
            layout: where the samples begin and end.
            rule: who may attend to whom; everybody by default. In the decoder, only to what came before.
            stages: filled, when given, with the output of every block of the decoder.
            losses: filled, when given, with the decoder's own losses.
        """
        if not len(x):
            return x[:, : self.d_model]
        source, target = x.split(self.d_model, dim=-1)
        behind = Causal() if rule is None or isinstance(rule, Full) else Causal() & rule
        memory = self.pair.encode(source, layout, rule)
        return self.pair.decoder(target, layout, behind, memory=memory, stages=stages, losses=losses)
