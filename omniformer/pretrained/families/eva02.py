"""EVA-02 ([Fang et al. 2023](https://arxiv.org/abs/2303.11331)) by the names of the library timm."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from omniformer.core.rotary import Rotary
from omniformer.core.rotary_scaling import LinearScaling
from omniformer.model import OmniFormer
from omniformer.pretrained.families.gptj import from_neighbours
from omniformer.pretrained.families.timm import READ, SIZES, Timm
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name, linear, stacked
from omniformer.recipe import Node

_NAMED = re.compile(r"eva02_(?P<size>tiny|small|base|large)_patch(?P<patch>14)_\d+")
_OWN = {"qkv_fused", "scale_mlp", "ref_feat_shape"}


class EVA02(Timm):
    """EVA-02 of tiny to large: the first EVA with gated maps, rotary positions of two axes beside the learned ones, and
    in its larger sizes a norm between the maps.

    Rows and columns turn as if the picture had as many as in pre-training (`ref_feat_shape`), 16 of them.

    Args:
        config: the content of `config.json`, which names the `architecture`.

    Raises:
        ValueError: as for `Timm`; or the picture has fewer patches a side than in pre-training, or is no square.
    """

    read: ClassVar[set[str]] = READ - {"pre_norm", "init_values", "qkv_bias"} | _OWN

    @staticmethod
    def named(name: str) -> dict[str, Any]:
        """What the name of an architecture means.

        Raises:
            ValueError: it is none of those that are read.
        """
        found = _NAMED.fullmatch(name)
        if found is None:
            raise ValueError(
                f"config.json has architecture={name!r}; of EVA-02 these are read: eva02_SIZE_patch14_SIDE, SIZE one "
                "of tiny, small, base, large, without CLIP's towers"
            )
        large = found["size"] in ("base", "large")
        own = {"mlp_ratio": 8 / 3, "qkv_fused": not large, "scale_mlp": large, "ref_feat_shape": (16, 16)}
        own |= {"key_offsets": False, "global_pool": "avg", "patch_size": int(found["patch"])}
        return SIZES[found["size"]] | own

    @property
    def feedforward(self) -> Node:
        """Gated maps, and a norm between them where the file has one."""
        norm = {"norm": self.norm} if self.args["scale_mlp"] else {}
        width = int(self.args["embed_dim"] * self.args["mlp_ratio"])
        return factory("omniformer.core.feedforward.GatedFeedForward", d_ff=width, bias=True, **norm)

    @property
    def rotary(self) -> dict[str, Node]:
        """Rows and columns, counted as in pre-training."""
        scaling = part("omniformer.core.rotary_scaling.LinearScaling", factor=self._longer)
        return {"rotary": factory("omniformer.core.rotary.Rotary", n_axes=2, scaling=scaling)}

    @property
    def _longer(self) -> float:
        """How many times more patches a side has than in pre-training."""
        told, grid = self.args["ref_feat_shape"], self.grid
        wanted = [told, told] if isinstance(told, int) else list(told or grid)
        shares = {side / ref for side, ref in zip(grid, wanted, strict=True)}
        if len(shares) > 1 or min(shares) < 1:
            raise ValueError(
                f"pictures of {grid[0]} x {grid[1]} patches, ref_feat_shape={tuple(wanted)}; accepted: as many times "
                "more rows as columns, and no fewer"
            )
        return shares.pop()

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size: learned positions are stretched, and the same range of
        rows and columns is turned through.
        """
        other = super().at_size(model, image_size)
        scaling = LinearScaling(factor=other._longer)
        core: Any = model.core
        old = core.rotary
        head_dim = self.args["embed_dim"] // self.args["num_heads"]
        core.rotary = Rotary(head_dim=head_dim, n_axes=2, scaling=scaling).to(next(model.parameters()).device)
        core.rotary.train(old.training)
        return other

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of the attention of a layer, whose neighbouring features turn together."""
        d_model, heads = self.args["embed_dim"], self.args["num_heads"]
        turned, qkv = from_neighbours(heads, d_model // heads, d_model // heads), f"{ours}.qkv"
        rows = {name: (i * d_model, (i + 1) * d_model) for i, name in enumerate("qkv")}
        biases = {"q": ((0, d_model), turned), "v": ((d_model, 2 * d_model), None)}
        if self.args["qkv_fused"]:
            order = (*turned, *(d_model + i for i in turned), *range(2 * d_model, 3 * d_model))
            yield Name(ours=f"{qkv}.weight", theirs=f"{theirs}.qkv.weight", order=order)
        else:
            for name in "qkv":
                order = None if name == "v" else turned
                yield Name(ours=f"{qkv}.weight", theirs=f"{theirs}.{name}_proj.weight", rows=rows[name], order=order)
        end = "_bias" if self.args["qkv_fused"] else "_proj.bias"
        for name, (place, order) in biases.items():
            yield Name(ours=f"{qkv}.bias", theirs=f"{theirs}.{name}{end}", rows=place, order=order)
        yield from linear(f"{ours}.out", f"{theirs}.proj")

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of the gated maps of a layer."""
        if self.args["scale_mlp"]:
            width = int(self.args["embed_dim"] * self.args["mlp_ratio"])
            yield from stacked(f"{ours}.gate_up", {f"{theirs}.fc1_g": width, f"{theirs}.fc1_x": width})
            yield from linear(f"{ours}.norm", f"{theirs}.norm")
        else:
            yield from linear(f"{ours}.gate_up", f"{theirs}.fc1")
        yield from linear(f"{ours}.down", f"{theirs}.fc2")
