"""Random changes of tokens that are frames of a spectrogram."""

from dataclasses import replace

from einops import rearrange
from omniformer_tokenizers import Tokens
from omniformer_tokenizers.augment import mask_spectrogram
from torch import Generator, Tensor

from omniformer.core import checks
from omniformer.core.ranges import Count, Natural
from omniformer.data.augment.augmentation import Augmentation


class SpecAugment(Augmentation):
    """Stripes of time and of frequency replaced by the mean of the sound
    ([Park et al. 2019](https://arxiv.org/abs/1904.08779), without warping); for `augment_tokens`.

    Args:
        n_mels: number of mel bands of a frame, as the tokenizer has it.
        time_masks: how many stripes of time.
        max_time: the widest, in frames.
        band_masks: how many stripes of frequency.
        max_bands: the widest, in bands.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import SpectrogramTokenizer
        >>> tokens = SpectrogramTokenizer(sample_rate=8000, n_mels=40)(torch.randn(8000))
        >>> SpecAugment(n_mels=40)(tokens, torch.Generator().manual_seed(0)).values.shape
        torch.Size([51, 40])
    """

    def __init__(
        self,
        *,
        n_mels: Count,
        time_masks: Natural = 2,
        max_time: Natural = 20,
        band_masks: Natural = 2,
        max_bands: Natural = 10,
    ) -> None:
        checks.counts(n_mels=n_mels)
        checks.not_negative(time_masks=time_masks, max_time=max_time, band_masks=band_masks, max_bands=max_bands)
        self.n_mels = n_mels
        self.stripes = {
            "time_masks": time_masks,
            "max_time": max_time,
            "band_masks": band_masks,
            "max_bands": max_bands,
        }

    def __call__(self, raw: Tokens, generator: Generator) -> Tokens:
        """The tokens with stripes.

        Raises:
            ValueError: the tokens are no whole frames of so many bands, or tiles of them, side by side.

        Shapes:
            values `[tokens, frames * bands]`, as returned.
        """
        frames = _frames(raw, self.n_mels)
        masked = mask_spectrogram(frames, generator, **self.stripes)
        columns = _columns(raw)
        time = raw.values.shape[-1] * columns // self.n_mels
        values = rearrange(masked, "(n time) (m bands) -> (n m) (time bands)", m=columns, time=time)
        return replace(raw, values=values.contiguous())


def _columns(tokens: Tokens) -> int:
    """How many tokens lie side by side over all bands."""
    two = tokens.positions.shape[1] == 2 and len(tokens)
    return int(tokens.positions[:, 1].max()) + 1 if two else 1


def _frames(tokens: Tokens, n_mels: int) -> Tensor:
    """The frames of which tokens were cut, those that fill up the last one among them.

    Shapes:
        `[frames, n_mels]`.
    """
    features, columns = tokens.values.shape[-1], _columns(tokens)
    per_token, rest = divmod(features * columns, n_mels)
    frames = int(tokens.facts.get("frames", len(tokens) // columns * per_token))
    if rest or n_mels % columns or len(tokens) != -(-frames // max(per_token, 1)) * columns:
        raise ValueError(
            f"SpecAugment reads tokens of whole frames side by side, or tiles of them that do not overlap, of "
            f"n_mels={n_mels} bands; received {len(tokens)} tokens of {features} numbers on "
            f"{tokens.positions.shape[1]} axes for {frames} frames; set n_mels to that of the tokenizer, and leave its "
            "frame_stride and band_stride out"
        )
    return rearrange(tokens.values, "(n m) (time bands) -> (n time) (m bands)", m=columns, time=per_token)
