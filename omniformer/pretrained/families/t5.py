"""T5, version 1.0 and 1.1 ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683))."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.family import ACTIVATIONS, Family, factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.sequences import CausalReference, EncoderDecoderReference
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node


class T5(Family):
    """T5 of all sizes and of both versions, as `T5ForConditionalGeneration` and `T5EncoderModel` write them.

    One embedder reads the source and what is written so far: both are of modality text. In training the reference also
    drops features of what encoder and decoder put out; here it does not.

    Args:
        config: the content of `config.json`. Where it says that the output is not scaled (version 1.1), the output has
            a table of its own; a file that lacks it gives it a copy of the input table.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("T5ForConditionalGeneration", "T5EncoderModel", "T5WithLMHeadModel")
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 32128,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_decoder_layers": None,
        "num_heads": 8,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": 0.1,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "relu",
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    # The first versions wrote a table of distances to the source, which nothing reads.
    ignored = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)
    modality: ClassVar[str] = "text"
    """What it reads and writes."""

    @property
    def recipe(self) -> Node:
        """Pre-norm without offsets, buckets of distances that all layers share, scores that are not scaled."""
        config = self.config
        sizes = {"d_model": config["d_model"], "vocab_size": config["vocab_size"]}
        embedders = {self.modality: part("omniformer.embedders.IdEmbedder", **sizes, dropout=config["dropout_rate"])}
        if self.only_encoder:
            return recipe_of(core=self._stack(decoder=False), embedders=embedders)
        head = part(
            "omniformer.heads.NextTokenHead",
            **sizes,
            tied=self.scaled,
            scale=config["d_model"] ** -0.5 if self.scaled else 1.0,
            modality=self.modality,
        )
        return recipe_of(
            core=part(
                "omniformer.core.encoder_decoder.EncoderDecoder",
                encoder=self._stack(decoder=False),
                decoder=self._stack(decoder=True),
            ),
            embedders=embedders,
            heads={"seq2seq": head},
            rules={"seq2seq": part("omniformer.core.rules.Causal")},
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        shared = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", *["lm_head.weight"] * self.scaled]
        yield from same(f"embedders.{self.modality}.table.weight", "shared.weight", also=shared)
        if self.only_encoder:
            yield from self._stack_names("core", "encoder")
            return
        yield from self._stack_names("core.encoder", "encoder")
        yield from self._stack_names("core.decoder", "decoder")
        if not self.scaled:
            yield Name(ours="heads.seq2seq.ids.weight", theirs="lm_head.weight", instead=("shared.weight",))

    @property
    def only_encoder(self) -> bool:
        """Whether the files hold the encoder alone."""
        return self.architecture.endswith("EncoderModel")

    @property
    def scaled(self) -> bool:
        """Whether the output is scaled and has the input's table, as in version 1.0."""
        # Recent versions of the reference say so by a key of its own, and that tables are tied in any case.
        return bool(self.config.get("scale_decoder_outputs", self.config["tie_word_embeddings"]))

    @property
    def given(self) -> tuple[str, ...]:
        """What the encoder reads."""
        return () if self.only_encoder else (self.modality,)

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Pieces of a unigram model, the end of the text behind them."""
        # All published ones begin to write from padding, though not all files say so.
        start = self.config["decoder_start_token_id"]
        known = {"decoder_start_token_id": self.config["pad_token_id"] if start is None else start}
        return text_tokenizer(folder, self.config | known)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` and `decoder_input_ids` in, `logits` out."""
        if self.only_encoder:
            return CausalReference(model, None)
        return EncoderDecoderReference(model, "seq2seq", source=self.modality, target=self.modality)

    def _stack(self, *, decoder: bool) -> Node:
        """The encoder, or the decoder."""
        config, gated, activation = self.config, *self._feedforward()
        attention = {
            "head_dim": config["d_kv"],
            "bias": False,
            "scale": 1.0,
            "dropout": config["dropout_rate"],
        }
        cross = factory("omniformer.core.attention.cross.CrossAttention", **attention)
        n_layers = self._n_decoder_layers() if decoder else config["num_layers"]
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=config["d_model"],
            n_layers=n_layers,
            n_heads=config["num_heads"],
            attention=factory("omniformer.core.attention.multihead.SelfAttention", **attention),
            feedforward=factory(
                f"omniformer.core.feedforward.{'GatedFeedForward' if gated else 'FeedForward'}",
                d_ff=config["d_ff"],
                activation=activation,
                dropout=config["dropout_rate"],
                bias=False,
            ),
            norm=factory("omniformer.core.norm.RMSNorm", eps=config["layer_norm_epsilon"]),
            pair_bias=factory(
                "omniformer.core.biases.T5Buckets",
                n_buckets=config["relative_attention_num_buckets"],
                max_distance=config["relative_attention_max_distance"],
                bidirectional=not decoder,
            ),
            dropout=config["dropout_rate"],
            **({"block": factory("omniformer.core.block.CrossBlock", cross=cross)} if decoder else {}),
        )

    def _stack_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The table of one stack; its layers are numbered lists of branches."""
        rows, decoder = self.config["num_heads"] * self.config["d_kv"], theirs == "decoder"
        n_layers = self._n_decoder_layers() if decoder else self.config["num_layers"]
        buckets = f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        yield from same(f"{ours}.pair_bias.table", buckets)
        for block, layer in layers(n_layers, f"{ours}.blocks", f"{theirs}.block"):
            branch = f"{layer}.layer.0.SelfAttention"
            yield from linear(f"{block}.attention.norm", f"{layer}.layer.0.layer_norm", bias=False)
            qkv = {f"{branch}.{name}": rows for name in "qkv"}
            yield from stacked(f"{block}.attention.branch.qkv", qkv, bias=False)
            yield from linear(f"{block}.attention.branch.out", f"{branch}.o", bias=False)
            if decoder:
                branch = f"{layer}.layer.1.EncDecAttention"
                yield from linear(f"{block}.cross.norm", f"{layer}.layer.1.layer_norm", bias=False)
                yield from linear(f"{block}.cross.branch.q", f"{branch}.q", bias=False)
                kv = {f"{branch}.{name}": rows for name in "kv"}
                yield from stacked(f"{block}.cross.branch.kv", kv, bias=False)
                yield from linear(f"{block}.cross.branch.out", f"{branch}.o", bias=False)
            last = f"{layer}.layer.{2 if decoder else 1}"
            yield from linear(f"{block}.feedforward.norm", f"{last}.layer_norm", bias=False)
            yield from self._feedforward_names(f"{block}.feedforward.branch", f"{last}.DenseReluDense")
        yield from linear(f"{ours}.norm", f"{theirs}.final_layer_norm", bias=False)

    def _feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        gated, _ = self._feedforward()
        if gated:
            rows = self.config["d_ff"]
            yield from stacked(f"{ours}.gate_up", {f"{theirs}.wi_0": rows, f"{theirs}.wi_1": rows}, bias=False)
        else:
            yield from linear(f"{ours}.up", f"{theirs}.wi", bias=False)
        yield from linear(f"{ours}.down", f"{theirs}.wo", bias=False)

    def _feedforward(self) -> tuple[bool, str]:
        """Whether there is a gate, and our name of the activation, from "relu" or "gated-gelu"."""
        written = self.config["feed_forward_proj"]
        gate, _, name = written.rpartition("-")
        if gate not in ("", "gated") or name not in ACTIVATIONS:
            raise ValueError(
                f"config.json has feed_forward_proj={written!r}; accepted: {', '.join(ACTIVATIONS)}, or 'gated-' and "
                "one of these"
            )
        # What version 1.1 calls "gated-gelu" is the approximation by tanh.
        return bool(gate), ACTIVATIONS["gelu_new" if written == "gated-gelu" else name]

    def _n_decoder_layers(self) -> int:
        """As many as the encoder has, unless the file says otherwise."""
        n_layers = self.config["num_decoder_layers"]
        return self.config["num_layers"] if n_layers is None else n_layers


class MT5(T5):
    """mT5, T5 of version 1.1 in a hundred languages ([Xue et al. 2020](https://arxiv.org/abs/2010.11934)), as
    `MT5ForConditionalGeneration` and `MT5EncoderModel` write it. Its output is never scaled.

    Arguments and errors as for `T5`.
    """

    architectures = ("MT5ForConditionalGeneration", "MT5EncoderModel")
    defaults: ClassVar[dict[str, Any]] = T5.defaults | {
        "vocab_size": 250112,
        "d_ff": 1024,
        "num_layers": 8,
        "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
    }

    @property
    def scaled(self) -> bool:
        """Whether the output is scaled and has the input's table: never."""
        return False
