"""Qwen2.5-VL ([Bai et al. 2025](https://arxiv.org/abs/2502.13923))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.layer_types import kind, pattern_of
from omniformer.pretrained.families.qwen2_vl import Qwen2VL
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name, linear, stacked
from omniformer.recipe import Node


class Qwen25VL(Qwen2VL):
    """Qwen2.5-VL as `Qwen2_5_VLForConditionalGeneration` writes it: Qwen2-VL whose tower sees windows in most of its
    layers, with gated feed-forward layers.

    Args:
        config: as for `Qwen2VL`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Qwen2_5_VLForConditionalGeneration",)
    published: ClassVar[dict[str, Any]] = {
        "depth": 32,
        "hidden_size": 3584,
        "hidden_act": "silu",
        "intermediate_size": 3420,
        "num_heads": 16,
        "in_channels": 3,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }

    @property
    def width(self) -> int:
        """Of the tower."""
        return self.vision["hidden_size"]

    @property
    def merged_width(self) -> int:
        """Of what the merger gives."""
        return self.vision["out_hidden_size"]

    @property
    def tower(self) -> Node:
        """Gated layers with offsets, of which most see the patches of their window."""
        vision, n = self.vision, self.windows["window"] ** 2 - 1
        # Those of a window lie together, so that what is near bounds what is looked at.
        alike = part("omniformer.core.rules.Alike", feature="window")
        near = part("omniformer.core.rules.Window", left=n, right=n)
        window = part("omniformer.core.rules.all_of", rules={"alike": alike, "near": near})
        types = ["full" if i in vision["fullatt_block_indexes"] else "window" for i in range(vision["depth"])]
        return {
            "feedforward": factory(
                "omniformer.core.feedforward.GatedFeedForward",
                d_ff=vision["intermediate_size"],
                activation=self.activation_of_tower,
                bias=True,
            ),
            "norm": factory("omniformer.core.norm.RMSNorm", eps=1e-6),
            **pattern_of(types, {"full": kind(), "window": kind(rule=window)}),
        }

    @property
    def windows(self) -> Node:
        """Rows and columns of patches that share a window: whole blocks, as many as fit."""
        vision = self.vision
        block = vision["spatial_merge_size"]
        n = vision["window_size"] // block // vision["patch_size"] * block
        if not n:
            raise ValueError(
                f"vision_config has window_size={vision['window_size']}, in which no block of patches fits"
            )
        return {"window": n}

    def tower_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The norms and the feed-forward layer of a block of the tower."""
        yield from self.norm_names(f"{ours}.attention.norm", f"{theirs}.norm1")
        yield from self.norm_names(f"{ours}.feedforward.norm", f"{theirs}.norm2")
        d_ff = self.vision["intermediate_size"]
        rows = {f"{theirs}.mlp.gate_proj": d_ff, f"{theirs}.mlp.up_proj": d_ff}
        yield from stacked(f"{ours}.feedforward.branch.gate_up", rows)
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.mlp.down_proj")

    def norm_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """A norm of the tower, without an offset."""
        yield from linear(ours, theirs, bias=False)
