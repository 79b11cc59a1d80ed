"""Images to blocks of neighbouring patches, for models that join what they see of a block."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokens import Tokens
from omniformer_tokenizers.vision.patches import PatchTokenizer
from omniformer_tokenizers.vision.resampling import Resampling


class PatchBlockTokenizer(PatchTokenizer):
    """Cuts an image into blocks of `block x block` patches, one token each, as Qwen2-VL reads them (Wang et al. 2024,
    2.1): its tower sees patches, its language model blocks.

    Args:
        patch_size: height and width of a patch, in pixels.
        block: rows and columns of patches in a token.
        frames: how often a picture is repeated, where the model reads video in tubelets of so many frames.
        channels: as for `PatchTokenizer`, like the next three.
        mean: subtracted from pixels scaled to 0..1.
        std: then divided by.
        resize: a `Resampling` or its arguments as a mapping; None keeps the native size.
        remainder: what happens where blocks do not fit the image: `crop` leaves the last rows and columns out, `error`
            refuses.

    Raises:
        ValueError: a size is not positive, or mean and std do not fit `channels`; when called, blocks do not fit.

    Shapes:
        values float32 `[tokens, block * block * channels * frames * patch_size * patch_size]`, patch after patch;
        positions `[tokens, 3]`: time, row and column of the block.

    Example:
        >>> import torch
        >>> tokens = PatchBlockTokenizer(patch_size=4)(torch.zeros(3, 8, 16, dtype=torch.uint8))
        >>> tokens.values.shape, tokens.positions.tolist()
        (torch.Size([2, 384]), [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    """

    def __init__(
        self,
        *,
        patch_size: Count = 14,
        block: Count = 2,
        frames: Count = 2,
        channels: Literal[1, 3, 4] = 3,
        mean: tuple[float, ...] = (0.5,),
        std: tuple[float, ...] = (0.5,),
        resize: Resampling | Mapping[str, Any] | None = None,
        remainder: Literal["crop", "error"] = "error",
    ) -> None:
        at_least(1, patch_size=patch_size, block=block, frames=frames)
        super().__init__(
            patch_size=patch_size * block,
            channels=channels,
            mean=mean,
            std=std,
            remainder=remainder,
            resize=Resampling() if resize is None else resize,
        )
        self.block, self.frames = block, frames

    @property
    def facts(self) -> Mapping[str, Any]:
        """`features` of a whole block, and its 3 position `axes`."""
        return {"features": super().facts["features"] * self.frames, "axes": 3}

    @property
    def stack_shape(self) -> None:
        """None: blocks are made of single pictures."""
        return None

    def decode(self, tokens: Tokens, *, dtype: torch.dtype = torch.uint8) -> Tensor:
        """The image back, the mean of its frames; see `PatchTokenizer.decode`."""
        sizes = {"c": self.channels, "b": self.block, "d": self.block, "h": self.patch_size // self.block}
        values = rearrange(tokens.values, "n (b d c t h w) -> n t (c b h d w)", **sizes, t=self.frames)
        return super().decode(replace(tokens, values=values.mean(1), positions=tokens.positions[:, 1:]), dtype=dtype)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        known = super().config()
        own = {"patch_size": self.patch_size // self.block, "block": self.block, "frames": self.frames}
        return own | {name: known[name] for name in ("channels", "mean", "std", "resize", "remainder")}

    def _tokens(self, images: Tensor) -> Iterator[Tokens]:
        sizes = {"c": self.channels, "b": self.block, "d": self.block, "h": self.patch_size // self.block}
        for whole in super()._tokens(images):
            patches = rearrange(whole.values, "n (c b h d w) -> n b d c (h w)", **sizes)
            values = repeat(patches, "n b d c pixels -> n (b d c t pixels)", t=self.frames)
            yield replace(whole, values=values, positions=functional.pad(whole.positions, (1, 0)))
