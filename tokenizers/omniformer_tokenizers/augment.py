"""Random changes to samples for training, each drawn from a generator that the caller keys by sample.

Pass a generator seeded from (seed, epoch, sample id, purpose), and the change depends on nothing else.
"""

from dataclasses import replace

import torch
from torch import Generator, Tensor

from omniformer_tokenizers.tokens import Tokens


def drop_tokens(tokens: Tokens, generator: Generator, *, keep: float) -> Tokens:
    """A random part of the tokens, in their order (NaViT's token dropping); positions tell where they were.

    Args:
        tokens: any without edges; a graph's edges would dangle.
        generator: decides which tokens.
        keep: share of tokens that stay, above 0 to 1; at least one stays.

    Raises:
        ValueError: `keep` is outside (0, 1], or the tokens have edges.

    Example:
        >>> import torch
        >>> tokens = Tokens(values=torch.arange(8), positions=torch.arange(8.0)[:, None], modality="text")
        >>> len(drop_tokens(tokens, torch.Generator().manual_seed(0), keep=0.5))
        4
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep={keep} is outside (0, 1]")
    if tokens.edges is not None:
        raise ValueError(f"{tokens.modality}: tokens with edges cannot be dropped one by one")
    n = len(tokens)
    stay = torch.randperm(n, generator=generator)[: max(round(n * keep), min(n, 1))].sort().values
    return replace(
        tokens,
        values=tokens.values[stay],
        positions=tokens.positions[stay],
        features={name: feature[stay] for name, feature in tokens.features.items()},
        pairs={name: pair[stay][:, stay] for name, pair in tokens.pairs.items()},
    )


def time_shift(wave: Tensor, generator: Generator, *, max_shift: int) -> Tensor:
    """The wave moved by up to `max_shift` samples either way, silence coming in at the end that opens.

    Shapes:
        wave `[..., time]`, as returned.
    """
    shift = int(torch.randint(-max_shift, max_shift + 1, (), generator=generator))
    shifted = torch.zeros_like(wave)
    n = wave.shape[-1]
    if abs(shift) < n:
        shifted[..., max(shift, 0) : n + min(shift, 0)] = wave[..., max(-shift, 0) : n - max(shift, 0)]
    return shifted


def mask_spectrogram(
    frames: Tensor,
    generator: Generator,
    *,
    time_masks: int = 2,
    max_time: int = 20,
    band_masks: int = 2,
    max_bands: int = 10,
) -> Tensor:
    """Stripes of time and of frequency replaced by the mean (SpecAugment, Park et al. 2019, without warping).

    Args:
        frames: log-mel frames; see `SpectrogramTokenizer.frames`.
        generator: decides number and place of the masked frames and bands.
        time_masks: how many stripes of time.
        max_time: the widest, in frames.
        band_masks: how many stripes of frequency.
        max_bands: the widest, in bands.

    Shapes:
        frames `[frames, bands]`, as returned.
    """
    masked = frames.clone()
    if not frames.numel():
        return masked
    mean = frames.mean()
    for axis, count, widest in ((0, time_masks, max_time), (1, band_masks, max_bands)):
        size = frames.shape[axis]
        for _ in range(count):
            width = int(torch.randint(0, min(widest, size) + 1, (), generator=generator))
            start = int(torch.randint(0, size - width + 1, (), generator=generator))
            masked.narrow(axis, start, width).fill_(mean)
    return masked


def flip_signs(tokens: Tokens, generator: Generator, *, feature: str = "laplacian") -> Tokens:
    """Laplacian eigenvectors, each with a random sign: the sign means nothing, and a model must not learn it.

    Raises:
        ValueError: the tokens have no such feature.
    """
    if feature not in tokens.features:
        raise ValueError(f"{tokens.modality}: no feature {feature!r}; it has {sorted(tokens.features)}")
    vectors = tokens.features[feature]
    signs = torch.randint(0, 2, vectors.shape[1:], generator=generator) * 2 - 1
    return replace(tokens, features={**tokens.features, feature: vectors * signs})
