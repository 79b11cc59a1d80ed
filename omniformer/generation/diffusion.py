"""Making pictures out of noise with a diffusion model."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from omniformer_tokenizers import Packed
from torch import Tensor

from omniformer.batch import Batch
from omniformer.generation.answer import head_making
from omniformer.heads.noise import Schedule
from omniformer.model import OmniFormer


def denoise(
    model: OmniFormer,
    head: str,
    batch: Batch,
    *,
    steps: int = 50,
    guidance: float = 3.0,
    eta: float = 0.0,
    clip: float | None = 1.0,
    seed: int = 0,
) -> Packed:
    """Pictures for what the samples are given: tokens like those of their answers, made out of noise.

    The answers say how large each picture is to be; what is in them is not read. Noise is drawn for each sample by its
    id, so that a seed gives the same picture in any batch.

    Args:
        model: with a `DenoisingHead`; in evaluation mode.
        head: its name.
        batch: samples with an answer of the wanted size, for example what the tokenizer makes of a blank picture.
        steps: how many steps of the schedule are taken, evenly spaced; 50 do with `eta=0`, all are `eta=1` as trained.
        guidance: how far to go from what the model says without the given pieces to what it says with them, and
            beyond ([Ho and Salimans 2022](https://arxiv.org/abs/2207.12598)): 1 takes the model at its word, 0 ignores
            what is given.
        eta: share of fresh noise at every step: 0 is DDIM ([Song et al. 2020](https://arxiv.org/abs/2010.02502)), 1
            the ancestral sampling of DDPM ([Ho et al. 2020](https://arxiv.org/abs/2006.11239), algorithm 2).
        clip: clean values are kept within plus and minus this at every step; 1 is the range of a `PatchTokenizer` with
            its own mean and std. None leaves them free.
        seed: of the noise.

    Returns:
        The packed tokens; `unpack` them, and the tokenizer's `decode` makes pictures.

    Raises:
        ValueError: the head is missing or no `DenoisingHead`, samples have no answer of vectors, a number is out of its
            range, or the core has no cross-attention and `guidance` is not 1.

    Example:
        >>> from functools import partial
        >>> from omniformer_tokenizers import PatchTokenizer, Tokens, unpack
        >>> from omniformer.batch import Sample, collate
        >>> from omniformer.core.connection import AdaptiveNorm
        >>> from omniformer.core.transformer import Transformer
        >>> from omniformer.embedders import VectorEmbedder
        >>> from omniformer.heads import DenoisingHead
        >>> patches = PatchTokenizer(patch_size=4, channels=1)
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2, connection=partial(AdaptiveNorm, d_condition=8)),
        ...     embedders={"vision": VectorEmbedder(d_model=16, features=16, axes=2)},
        ...     heads={"paint": DenoisingHead(d_model=16, features=16, d_condition=8)},
        ... )
        >>> blank = Sample(id="first", pieces=[], answer=[patches(torch.zeros(1, 8, 8))])
        >>> made = denoise(model.eval(), "paint", collate([blank]), steps=5, guidance=1.0)
        >>> patches.decode(unpack(made)[0]).shape
        torch.Size([1, 8, 8])
    """
    reader = head_making("pictures", model, head)
    if guidance != 1 and not model.writer.reads_memory:
        raise ValueError(
            f"guidance={guidance} needs a core with cross-attention; set guidance=1, or core=denoiser_tiny"
        )
    device = next(model.parameters()).device
    batch = batch.to(device)
    modality, part = pictures(batch)
    answer = batch.answer
    assert answer is not None
    sample = torch.repeat_interleave(torch.arange(len(batch)), answer.counts[modality]).to(device)
    draw = Noise(batch.ids, answer.counts[modality], part.values.shape[1], seed=seed, device=device)

    with torch.inference_mode():
        given = model.memory(batch) if model.writer.reads_memory else None
        nothing = None if given is None else given.without(torch.ones(len(batch), dtype=torch.bool))

        def outputs(x: Tensor, t: int, memory: object) -> Tensor:
            condition = reader.condition(torch.full((len(batch),), t, device=device))
            parts = {modality: replace(part, values=x)}
            told = replace(batch, answer=replace(answer, parts=parts))
            y, layout = model.decode(told, head, memory=memory, condition=condition)  # pyright: ignore[reportArgumentType]
            return reader(y, layout, condition=condition).float()

        def estimate(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
            found = outputs(x, t, given if guidance != 0 else nothing)
            if guidance not in (0, 1):
                found = torch.lerp(outputs(x, t, nothing), found, guidance)
            return reader.separate(found, x, torch.full_like(sample, t))

        values = walk(draw(), estimate, reader.schedule, steps=steps, eta=eta, clip=clip, draw=draw)
    return replace(part, values=values)


def walk(
    x: Tensor,
    estimate: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    schedule: Schedule,
    *,
    steps: int,
    eta: float = 0.0,
    clip: float | None = None,
    draw: Callable[[], Tensor] | None = None,
) -> Tensor:
    """From noise to clean values, step by step ([Song et al. 2020](https://arxiv.org/abs/2010.02502), equation 12).

    Args:
        x: noise.
        estimate: what of x at step t is clean, and what is noise.
        schedule: how much signal is left at each step.
        steps: how many of its steps are taken, evenly spaced, the noisiest first.
        eta: share of fresh noise at every step; 0 to 1.
        clip: the range of clean values; None for any.
        draw: makes fresh noise of the shape of x, where `eta` is above 0; from torch's generator by default.

    Shapes:
        x `[tokens, features]` → the same.

    Raises:
        ValueError: `steps`, `eta` or `clip` is out of its range.

    Example:
        >>> from omniformer.heads.noise import Cosine
        >>> all_noise = lambda x, t: (torch.zeros_like(x), x)
        >>> walk(torch.randn(2, 3), all_noise, Cosine(n_steps=100), steps=10).abs().max().item()
        0.0
    """
    if not 1 <= steps <= schedule.n_steps:
        raise ValueError(f"steps={steps} must be 1 to the {schedule.n_steps} of the schedule")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta} must be 0 (no fresh noise) to 1 (as much as DDPM)")
    if clip is not None and clip <= 0:
        raise ValueError(f"clip={clip} must be above 0, or None for values of any size")
    taken = torch.linspace(schedule.n_steps - 1, 0, steps, dtype=torch.float64).round().long().tolist()
    alphas = [float(schedule.alphas[t]) for t in taken] + [1.0]
    for t, alpha, after in zip(taken, alphas, alphas[1:], strict=False):
        clean, noise = estimate(x, t)
        if clip is not None:
            clean = clean.clamp(-clip, clip)
            noise = (x - alpha**0.5 * clean) / (1 - alpha) ** 0.5
        fresh = eta * ((1 - after) / (1 - alpha) * (1 - alpha / after)) ** 0.5
        x = after**0.5 * clean + max(1 - after - fresh**2, 0.0) ** 0.5 * noise
        if fresh:
            x = x + fresh * (torch.randn_like(x) if draw is None else draw())
    return x


def pictures(batch: Batch) -> tuple[str, Packed]:
    """The modality and the tokens of the one thing that the samples of a batch answer, in vectors.

    Raises:
        ValueError: there is no answer, or it is of ids or of several modalities.
    """
    parts = {} if batch.answer is None else batch.answer.parts
    if len(parts) == 1:
        ((modality, part),) = parts.items()
        if part.values.is_floating_point():
            return modality, part
    found = ", ".join(f"{name} of {list(part.values.shape)} {part.values.dtype}" for name, part in parts.items())
    raise ValueError(
        f"sample {batch.ids[0]!r} answers with {found or 'nothing'}; diffusion needs one answer of vectors, such as a "
        "picture from PatchTokenizer: set answer: vision in the data"
    )


class Noise:
    """Normal noise that depends on the seed and each sample's id alone, not on who shares its batch.

    Args:
        ids: of the samples.
        counts: tokens of each.
        features: numbers of a token.
        seed: another seed, other noise.
        purpose: two purposes never share numbers.
        device: where the noise goes; it is drawn on the host, so that it is the same for every device.

    Example:
        >>> both = Noise(["a", "b"], torch.tensor([2, 1]), 3, seed=0)
        >>> alone = Noise(["b"], torch.tensor([1]), 3, seed=0)
        >>> torch.equal(both()[2:], alone()), torch.equal(both()[2:], alone())
        (True, True)
    """

    def __init__(
        self,
        ids: Sequence[str],
        counts: Tensor,
        features: int,
        *,
        seed: int,
        purpose: str = "denoise",
        device: torch.device | str = "cpu",
    ) -> None:
        self.shapes = [(n, features) for n in counts.tolist()]
        self.generators = [generator(seed, each, purpose) for each in ids]
        self.device = device

    def __call__(self) -> Tensor:
        """The next noise.

        Shapes:
            float32 `[tokens, features]`.
        """
        pairs = zip(self.shapes, self.generators, strict=True)
        return torch.cat([torch.randn(shape, generator=each) for shape, each in pairs]).to(self.device)


def generator(seed: int, sample_id: str, purpose: str) -> torch.Generator:
    """A generator for one random choice about one sample; the same on every machine.

    Example:
        >>> a, b = generator(0, "digits/7", "noise"), generator(0, "digits/7", "noise")
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        True
    """
    key = json.dumps([seed, sample_id, purpose]).encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return torch.Generator().manual_seed(number >> 1)  # torch takes seeds below 2**63
