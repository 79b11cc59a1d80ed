"""DeBERTa v2 and v3 ([He et al. 2020](https://arxiv.org/abs/2006.03654), [2021](https://arxiv.org/abs/2111.09543))."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

from omniformer.pretrained.families.bert import BERT, HEADS
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.recipe import Node

_TERMS = {"c2p": "content_to_position", "p2c": "position_to_content"}


class DeBERTaV2(BERT):
    """BERT with disentangled attention, without next sentences.

    The published files of the third version have the newer head for hidden words (`lm_predictions`), of which their
    configuration says nothing: the tensors do.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have: no relative attention, a
            table of another width than the layers.
    """

    architectures = tuple(f"DebertaV2{kind}" for kind, heads in HEADS.items() if "next_sentence" not in heads)
    prefix = "deberta."
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 128100,
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
        "relative_attention": False,
        "max_relative_positions": -1,
        "position_buckets": -1,
        "position_biased_input": True,
        "pos_att_type": None,
        "share_att_key": False,
        "norm_rel_ebd": "none",
        "conv_kernel_size": 0,
        "conv_groups": 1,
        "conv_act": "tanh",
        "pooler_dropout": 0.0,
        "pooler_hidden_act": "gelu",
        "cls_dropout": None,
        "legacy": True,
        "tie_word_embeddings": True,
        "problem_type": None,
    }
    ignored = ("cls.predictions.decoder.*", "cls.predictions.bias", "*.embeddings.position_ids", "mask_predictions.*")
    spelled: ClassVar[dict[str, str]] = {"classifier_dropout": "cls_dropout"}

    def holding(self, tensors: Iterable[str]) -> Self:
        """With the newer head for hidden words where the file has it."""
        if not any(name.startswith("lm_predictions.") for name in tensors):
            return self
        other = copy.copy(self)
        other.config = self.config | {"legacy": False}
        return other

    @property
    def heads(self) -> tuple[str, ...]:
        """No pooler where there is no task."""
        return () if self.kind == "Model" else super().heads

    @property
    def max_seq_len(self) -> int | None:
        """The places of the learned positions, where it has any: distances have no end."""
        return self.config["max_position_embeddings"] if self.config["position_biased_input"] else None

    def resized(self, **sizes: int) -> Self:
        if "max_seq_len" in sizes and not self.config["position_biased_input"]:
            raise ValueError(f"{self.architecture} has no max_seq_len to change: it reads distances, which have no end")
        return super().resized(**sizes)

    @property
    def terms(self) -> list[str]:
        """The scores of distances, in our words and order."""
        given = self.config["pos_att_type"] or []
        named = [each.strip() for each in given.lower().split("|")] if isinstance(given, str) else list(given)
        if not named or set(named) - set(_TERMS):
            raise ValueError(f"config.json has pos_att_type={given!r}; accepted: one or both of {', '.join(_TERMS)}")
        return [ours for theirs, ours in _TERMS.items() if theirs in named]

    @property
    def recipe(self) -> Node:
        """BERT's, with vectors of distances for all layers."""
        self.need("relative_attention", True)
        if (width := self.config.get("embedding_size", self.config["hidden_size"])) != self.config["hidden_size"]:
            raise ValueError(f"config.json has embedding_size={width}; accepted: hidden_size, as published")
        recipe, config = super().recipe, self.config
        core, embedder = recipe["core"], recipe["embedders"]["text"]["node"]
        core["_target_"] = "omniformer.core.disentangled.DisentangledTransformer"
        core["attention"] |= {
            "_target_": "omniformer.core.attention.disentangled.DisentangledAttention",
            "terms": self.terms,
            "own_maps": not config["share_att_key"],
            "distance_dropout": config["hidden_dropout_prob"],
        }
        core["distances"] = self.distances
        if config["conv_kernel_size"] > 0:
            sizes = {"kernel": config["conv_kernel_size"], "groups": config["conv_groups"]}
            block = "omniformer.core.conv_block.ConvFirstBlock"
            core["block"] = factory(block, **sizes, activation=self.activation("conv_act"))
        if not config["position_biased_input"]:
            del embedder["position"]
        return recipe

    @property
    def distances(self) -> Node:
        """The table of vectors of distances."""
        config = self.config
        furthest = config["max_relative_positions"]
        furthest = config["max_position_embeddings"] if furthest < 1 else furthest
        shared = config["position_buckets"] > 0
        sizes = {"n_buckets": config["position_buckets"] if shared else furthest}
        norm = {"norm": factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"])} if self.normed else {}
        target = "omniformer.core.distances.DistanceVectors"
        return factory(target, **sizes, max_distance=furthest if shared else None, **norm)

    @property
    def normed(self) -> bool:
        """Whether the vectors of distances are normalised."""
        return "layer_norm" in [each.strip() for each in self.config["norm_rel_ebd"].lower().split("|")]

    def head_recipe(self, head: str) -> Node:
        """How to build a head: the pooler of a classifier has an activation of its own."""
        recipe = super().head_recipe(head)
        if head == "classification":
            activation = self.activation("pooler_hidden_act")
            options = {"activation": activation, "dropout": self.config["pooler_dropout"]}
            return recipe | {"pool": factory("omniformer.heads.DenseFirstToken", **options)}
        if head == "masked_lm" and not self.config["legacy"]:
            return recipe | {"tied": True}  # whatever the file says, as in the reference
        if head == "token_classification":
            return recipe | {"dropout": self.config["hidden_dropout_prob"]}
        return recipe

    def names(self) -> Iterator[Name]:
        """The table of names."""
        for line in super().names():
            if line.ours != "embedders.text.position.table" or self.config["position_biased_input"]:
                yield line
        yield from same("core.distances.table", f"{self.prefix}encoder.rel_embeddings.weight")
        if self.normed:
            yield from linear("core.distances.norm", f"{self.prefix}encoder.LayerNorm")
        if self.config["conv_kernel_size"] > 0:
            yield from linear("core.blocks.0.conv", f"{self.prefix}encoder.conv.conv")
            yield from linear("core.blocks.0.conv_norm", f"{self.prefix}encoder.conv.LayerNorm")

    def layer_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The part of the table that is about one layer: BERT's, with other names for the maps of attention."""
        maps, width = f"{theirs}.attention.self", self.config["hidden_size"]
        yield from stacked(
            f"{ours}.attention.branch.qkv", {f"{maps}.{name}_proj": width for name in ("query", "key", "value")}
        )
        if not self.config["share_att_key"]:
            named = {"content_to_position": "pos_key_proj", "position_to_content": "pos_query_proj"}
            own = {f"{maps}.{named[term]}": width for term in self.terms}
            yield from stacked(f"{ours}.attention.branch.of_distances", own)
        for line in super().layer_names(ours, theirs):
            if ".qkv." not in line.ours:
                yield line

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        if head == "masked_lm" and not self.config["legacy"]:
            yield from linear(f"{ours}.transform.map", "lm_predictions.lm_head.dense")
            yield from linear(f"{ours}.transform.norm", "lm_predictions.lm_head.LayerNorm")
            yield from same(f"{ours}.ids.bias", "lm_predictions.lm_head.bias")
        elif head == "classification":
            yield from linear(f"{ours}.pool.map", "pooler.dense")
            yield from linear(f"{ours}.{self.last_map}", "classifier")
        else:
            yield from super().head_names(head, ours)
