"""M2M100 ([Fan et al. 2020](https://arxiv.org/abs/2010.11125)) and NLLB, which has its form
([NLLB team 2022](https://arxiv.org/abs/2207.04672)): translation between any two of many languages.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bart import BART
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name
from omniformer.recipe import Node


class M2M100(BART):
    """M2M100 and NLLB as `M2M100ForConditionalGeneration` writes them: BART with its norms before the branches, and
    waves in place of learned positions.

    In which language it writes, the ids say with which an answer begins: `generate(..., begin=["</s>", "deu_Latn"])`.
    In training the reference leaves out whole layers by chance (`encoder_layerdrop`, `decoder_layerdrop`); here all
    layers take part.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("M2M100ForConditionalGeneration", "M2M100Model")
    pre_norm, kept_bias = True, False
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size"}
    ignored = (*BART.ignored, "model.*.embed_positions.weights")
    defaults: ClassVar[dict[str, Any]] = BART.defaults | {
        "vocab_size": 128112,
        "activation_function": "relu",
        "attention_dropout": 0.1,
        "scale_embedding": True,
    }
    needed: ClassVar[dict[str, Any]] = {"normalize_before": True, "add_final_layer_norm": True}

    def _embedder(self, vocab_size: int) -> Node:
        """A table, and waves that begin behind the place of padding."""
        first = self.need("pad_token_id") + 1
        return part(
            "omniformer.embedders.IdEmbedder",
            d_model=self.config["d_model"],
            vocab_size=vocab_size,
            scale=self._scale(),
            position=factory("omniformer.core.positions.SinusoidalHalves", to_base=True, first=first),
            dropout=self.config["dropout"],
        )

    def _embedder_names(self) -> Iterator[Name]:
        yield from ()
