"""Video to tubelets: patches that last several frames."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.media import read_frames
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens
from omniformer_tokenizers.vision.pixels import check_area, check_colours, checked, colour_mode, unit_range


class TubeletTokenizer(Tokenizer):
    """Cuts a video into tubelets, blocks of frames x height x width, one token each (ViViT, Arnab et al. 2021).

    Args:
        frames: frames of a tubelet.
        patch_size: height and width of a tubelet, in pixels.
        channels: 1 grey, 3 colour, 4 colour with transparency.
        mean: subtracted from pixels scaled to 0..1, one number for all channels or one for each.
        std: then divided by. The defaults map pixels to -1..1.

    What does not fill a tubelet is filled up: pixels of the mean colour below and to the right, and after the end the
    last frame repeated. `decode` takes both away again.

    Raises:
        ValueError: a size is not positive, or mean and std do not fit `channels`.

    Example:
        >>> import torch
        >>> tokens = TubeletTokenizer(frames=2, patch_size=4)(torch.zeros(6, 3, 8, 8, dtype=torch.uint8))
        >>> tokens.values.shape, tokens.positions[-1].tolist()
        (torch.Size([12, 96]), [2.0, 1.0, 1.0])
    """

    modality = "video"

    def __init__(
        self,
        *,
        frames: Count = 2,
        patch_size: Count = 16,
        channels: Literal[1, 3, 4] = 3,
        mean: tuple[float, ...] = (0.5,),
        std: tuple[float, ...] = (0.5,),
    ) -> None:
        at_least(1, frames=frames, patch_size=patch_size)
        check_colours(channels, mean, std)
        self.frames = frames
        self.patch_size = patch_size
        self.channels = channels
        self.mean = tuple(mean)
        self.std = tuple(std)

    @property
    def facts(self) -> Mapping[str, Any]:
        """`features` of a tubelet, and the number of position `axes`: time, row and column."""
        return {"features": self.frames * self.channels * self.patch_size**2, "axes": 3}

    def __call__(self, raw: Any) -> Tokens:
        """The tubelets of a video: a tensor, or the path or bytes of an animated GIF, WEBP or PNG.

        Raises:
            TypeError: not one of these.
            ValueError: a tensor of another shape or dtype.
            MediaError: a file that cannot be decoded.

        Shapes:
            raw uint8 0..255 or float 0..1 `[time, channels, height, width]`; values float32 `[tokens, features]` in
            the order frames, channels, height, width; positions `[tokens, 3]` (time, row, column) in tubelets; fact
            `size` int64 `[3]`: frames, height and width in pixels.
        """
        if isinstance(raw, str | Path | bytes):
            raw = read_frames(raw, mode=colour_mode(self.channels))
        video = unit_range(checked(raw, ("time", f"channels={self.channels}", "height", "width")))
        time, _, height, width = video.shape
        video = (video - self._column(self.mean)) / self._column(self.std)
        p = self.patch_size
        if video.numel():
            check_area(video, height - height % -p, width - width % -p)
            video = torch.cat([video, video[-1:].expand(-time % self.frames, -1, -1, -1)])
            video = functional.pad(video, (0, -width % p, 0, -height % p))
        else:  # nothing to see, whatever the other sizes are
            video = video.new_zeros(0, self.channels, 0, 0)
        values = rearrange(video, "(t f) c (h p) (w q) -> t h w (f c p q)", f=self.frames, p=p, q=p)
        cells = torch.cartesian_prod(*[torch.arange(float(n)) for n in values.shape[:3]])
        return Tokens(
            values=values.flatten(0, 2).contiguous(),
            positions=cells.reshape(-1, 3),
            facts={"size": torch.tensor([time, height, width])},
            modality=self.modality,
        )

    def decode(self, tokens: Tokens, *, dtype: torch.dtype = torch.uint8) -> Tensor:
        """The video back: exact for 8-bit pixels, to rounding (1e-6) for floats.

        Shapes:
            `[time, channels, height, width]`.
        """
        time, height, width = tokens.facts["size"].tolist()
        if not time * height * width:
            return torch.zeros(time, self.channels, height, width, dtype=dtype)
        p, f = self.patch_size, self.frames
        grid = {"t": -(-time // f), "h": -(-height // p), "w": -(-width // p)}
        pattern = "(t h w) (f c p q) -> (t f) c (h p) (w q)"
        video = rearrange(tokens.values, pattern, **grid, f=f, p=p, q=p)[:time, :, :height, :width]
        video = video * self._column(self.std) + self._column(self.mean)
        return (video * 255).round().clamp(0, 255).to(torch.uint8) if dtype == torch.uint8 else video.to(dtype)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        plain = {name: getattr(self, name) for name in ("frames", "patch_size", "channels")}
        return plain | {"mean": list(self.mean), "std": list(self.std)}

    def _column(self, numbers: tuple[float, ...]) -> Tensor:
        return torch.tensor(numbers)[:, None, None]
