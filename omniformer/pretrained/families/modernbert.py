"""ModernBERT ([Warner et al. 2024](https://arxiv.org/abs/2412.13663))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bert import BERT
from omniformer.pretrained.families.layer_types import kind, pattern_of, types_of
from omniformer.pretrained.families.rotary import rotary_of_layers
from omniformer.pretrained.family import factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same
from omniformer.recipe import Node

_BASES = {"full_attention": ("global_rope_theta", 160_000.0), "sliding_attention": ("local_rope_theta", 10_000.0)}
# The last maps of heads of tokens.
_OF_TOKENS = {"token_classification": "classes", "span_prediction": "ends"}
_POOLS = {"cls": "omniformer.heads.FirstToken", "mean": "omniformer.heads.MeanPool"}


class ModernBERT(BERT):
    """BERT of 2024: rotary positions, gated feed-forward layers, norms before the branches; two layers of three see a
    window and have shorter wavelengths.

    Arguments and errors as for `BERT`.
    """

    architectures = (
        "ModernBertModel",
        "ModernBertForMaskedLM",
        "ModernBertForSequenceClassification",
        "ModernBertForTokenClassification",
        "ModernBertForQuestionAnswering",
    )
    prefix = "model."
    spelled: ClassVar[dict[str, str]] = {"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"}
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 50368,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "hidden_activation": "gelu",
        "max_position_embeddings": 8192,
        "norm_eps": 1e-5,
        "norm_bias": False,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "global_attn_every_n_layers": 3,
        "local_attention": 128,
        "embedding_dropout": 0.0,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "decoder_bias": True,
        "classifier_pooling": "cls",
        "classifier_dropout": 0.0,
        "classifier_bias": False,
        "classifier_activation": "gelu",
        "tie_word_embeddings": True,
        "problem_type": None,
    }
    ignored = ("decoder.weight",)
    aliases: ClassVar[dict[str, str]] = {}
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size"}

    @property
    def heads(self) -> tuple[str, ...]:
        """No pooler where there is no task."""
        return () if self.kind == "Model" else super().heads

    @property
    def recipe(self) -> Node:
        """Pre-norm but for the first attention, whose input is normalised; everybody sees everybody, or a window."""
        self.need("attention_dropout", 0.0, 0)
        config, d_model = self.config, self.config["hidden_size"]
        norm = factory("omniformer.core.norm.LayerNorm", eps=config["norm_eps"], bias=config["norm_bias"])
        feedforward = {
            "d_ff": config["intermediate_size"],
            "dropout": config["mlp_dropout"],
            "bias": config["mlp_bias"],
        }
        core = part(
            "omniformer.core.transformer.Transformer",
            d_model=d_model,
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            attention=factory("omniformer.core.attention.multihead.SelfAttention", bias=config["attention_bias"]),
            feedforward=factory("omniformer.core.feedforward.GatedFeedForward", activation=self.act, **feedforward),
            norm=norm,
            block=factory("omniformer.core.block.BareFirstBlock"),
            **self.pattern,
        )
        embedder = part(
            "omniformer.embedders.IdEmbedder",
            d_model=d_model,
            vocab_size=config["vocab_size"],
            norm=norm,
            dropout=config["embedding_dropout"],
        )
        heads = {name: self.head_recipe(name) for name in self.heads}
        return recipe_of(core=core, embedders={"text": embedder}, heads=heads)

    @property
    def pattern(self) -> Node:
        """How layers differ: half of `local_attention` is seen on either side."""
        every, n_layers = self.config["global_attn_every_n_layers"], self.config["num_hidden_layers"]
        rotary = rotary_of_layers(self.config, _BASES, scaled=tuple(_BASES))
        side = self.config["local_attention"] // 2
        near = part("omniformer.core.rules.Window", left=side, right=side)
        kinds = {
            "full_attention": kind(rotary=rotary["full_attention"]),
            "sliding_attention": kind(rule=near, rotary=rotary["sliding_attention"]),
        }
        default = ["sliding_attention" if i % every else "full_attention" for i in range(n_layers)]
        return pattern_of(types_of(self.config, default), kinds)

    def head_recipe(self, head: str) -> Node:
        """How to build a head: before the scores stands the same map in all of them."""
        bias = self.need("classifier_bias", self.config["norm_bias"])
        act = self.activation("classifier_activation")
        transform = factory("omniformer.heads.Transform", activation=act, eps=self.config["norm_eps"], bias=bias)
        if head == "masked_lm":
            return super().head_recipe(head) | {"transform": transform, "bias": self.config["decoder_bias"]}
        if head in _OF_TOKENS:
            return super().head_recipe(head) | {"norm": transform, "dropout": self.classifier_dropout}
        pool = factory(_POOLS[self.need("classifier_pooling", *_POOLS)])
        return super().head_recipe(head) | {"pool": pool, "norm": transform}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        norm, prefix = self.config["norm_bias"], self.prefix
        yield from same("embedders.text.table.weight", f"{prefix}embeddings.tok_embeddings.weight")
        yield from linear("embedders.text.norm", f"{prefix}embeddings.norm", bias=norm)
        for i, (ours, theirs) in enumerate(layers(self.config["num_hidden_layers"], "core.blocks", f"{prefix}layers")):
            if i:
                yield from linear(f"{ours}.attention.norm", f"{theirs}.attn_norm", bias=norm)
            yield from self.layer_names(ours, theirs)
        yield from linear("core.norm", f"{prefix}final_norm", bias=norm)
        for head in self.heads:
            yield from self.head_names(head, f"heads.{head}")

    def layer_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The part of the table that is about one layer; the norm of its attention aside."""
        attention, mlp = self.config["attention_bias"], self.config["mlp_bias"]
        yield from linear(f"{ours}.attention.branch.qkv", f"{theirs}.attn.Wqkv", bias=attention)
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attn.Wo", bias=attention)
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.mlp_norm", bias=self.config["norm_bias"])
        yield from linear(f"{ours}.feedforward.branch.gate_up", f"{theirs}.mlp.Wi", bias=mlp)
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.mlp.Wo", bias=mlp)

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        before = f"{ours}.transform" if head == "masked_lm" else f"{ours}.norm"
        yield from linear(f"{before}.map", "head.dense", bias=self.config["classifier_bias"])
        yield from linear(f"{before}.norm", "head.norm", bias=self.config["norm_bias"])
        if head != "masked_lm":
            last = _OF_TOKENS.get(head, self.last_map)
            yield from linear(f"{ours}.{last}", "classifier")
            return
        if self.config["decoder_bias"]:
            yield from same(f"{ours}.ids.bias", "decoder.bias")
        if not self.config["tie_word_embeddings"]:
            yield from same(f"{ours}.ids.weight", "decoder.weight")
