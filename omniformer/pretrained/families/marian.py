"""Marian's translation models, the original transformer
([Junczys-Dowmunt et al. 2018](https://arxiv.org/abs/1804.00344);
[Tiedemann and Thottingal 2020](https://aclanthology.org/2020.eamt-1.61), OPUS-MT).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bart import BART
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name, same
from omniformer.recipe import Node


class Marian(BART):
    """Translation models, as `MarianMTModel` writes them: layers as in BART, waves in place of learned positions, no
    norm behind the tables.

    The waves go on beyond `max_position_embeddings`, where the reference's end.

    Args:
        config: the content of `config.json`. It says which of the tables of what is read, of what is written and of the
            output are one.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("MarianMTModel", "MarianModel")
    defaults: ClassVar[dict[str, Any]] = BART.defaults | {
        "vocab_size": 58101,
        "decoder_vocab_size": None,
        "share_encoder_decoder_embeddings": True,
        "pad_token_id": 58100,
        "bos_token_id": None,
        "eos_token_id": 0,
        "decoder_start_token_id": 58100,
    }
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size"}
    ignored = (*BART.ignored, "model.*.embed_positions.weight")
    needed: ClassVar[dict[str, Any]] = BART.needed | {"normalize_embedding": False, "static_position_embeddings": True}

    @property
    def target_vocab_size(self) -> int:
        """The number of ids of what is written, which has a vocabulary of its own where tables are not shared."""
        return (not self.one_table and self.config["decoder_vocab_size"]) or self.config["vocab_size"]

    @property
    def one_table(self) -> bool:
        """Whether what is read and what is written have one table."""
        return self.config["share_encoder_decoder_embeddings"]

    @property
    def tied(self) -> bool:
        """Whether the output has the table of what is written."""
        # Versions of the reference differ about which of three tables are one where they are shared, but not tied.
        return self.need("tie_word_embeddings", True) if self.one_table else self.config["tie_word_embeddings"]

    def _embedder(self, vocab_size: int) -> Node:
        """A table, and waves: sines in the first half, cosines in the second."""
        return part(
            "omniformer.embedders.IdEmbedder",
            d_model=self.config["d_model"],
            vocab_size=vocab_size,
            scale=self._scale(),
            position=factory("omniformer.core.positions.SinusoidalHalves"),
            dropout=self.config["dropout"],
        )

    def _tables(self) -> Iterator[Name]:
        if self.one_table:
            yield from super()._tables()
            return
        read, written = (f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder"))
        yield from same("embedders.source.table.weight", read)
        yield from same("embedders.text.table.weight", written, also=["lm_head.weight"] * self.tied)
        if not self.tied:
            yield from same("heads.seq2seq.ids.weight", "lm_head.weight")

    def _embedder_names(self) -> Iterator[Name]:
        yield from ()
