"""Random changes of tokens that are frames of a spectrogram."""

from dataclasses import replace

from omniformer_tokenizers import Tokens
from omniformer_tokenizers.augment import mask_spectrogram
from torch import Generator

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
            ValueError: the tokens are no whole frames of so many bands, side by side.

        Shapes:
            values `[tokens, frames * n_mels]`, as returned.
        """
        features = raw.values.shape[-1]
        per_token, rest = divmod(features, self.n_mels)
        frames = int(raw.facts.get("frames", len(raw) * per_token))
        if rest or raw.positions.shape[1] != 1 or len(raw) != -(-frames // max(per_token, 1)):
            raise ValueError(
                f"SpecAugment reads tokens of whole frames side by side, of n_mels={self.n_mels} bands; received "
                f"{len(raw)} tokens of {features} numbers on {raw.positions.shape[1]} axes for {frames} frames; set "
                "n_mels to that of the tokenizer, and leave its frame_stride and bands_per_token out"
            )
        masked = mask_spectrogram(raw.values.reshape(-1, self.n_mels), generator, **self.stripes)
        return replace(raw, values=masked.reshape(raw.values.shape))
