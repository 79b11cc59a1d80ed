"""Samples mixed with others, and their targets by the same share: MixUp and CutMix."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

import torch
from omniformer_tokenizers import Tokens
from torch import Generator, Tensor
from torch.nn import functional

from omniformer.batch import Sample
from omniformer.core import checks
from omniformer.core.ranges import Positive, Share
from omniformer.data.random import generator
from omniformer.data.samples import SampleError, Samples

Mix = Callable[[Tokens, Tokens], tuple[Tensor, float]]
"""Makes of the tokens of a sample and as many of its partner, at the same places, the values of both together, and says
which share of them is the sample's own."""
_TRIES = 10


class Mixing(ABC):
    """How the tokens of two samples become those of one."""

    @abstractmethod
    def draw(self, chance: Generator) -> Mix | None:
        """What is done with one sample, drawn from `chance`; None leaves it as it is."""


class _Beta(Mixing):
    """A mixing whose share is drawn from a beta distribution; arguments as for `MixUp`."""

    def __init__(self, *, alpha: Positive, p: Share) -> None:
        checks.positive(alpha=alpha)
        checks.share(p=p)
        self.alpha = alpha
        self.p = p

    def draw(self, chance: Generator) -> Mix | None:
        numbers = Random(int(torch.randint(2**62, (), generator=chance)))
        if numbers.random() >= self.p:
            return None
        share = numbers.betavariate(self.alpha, self.alpha)
        return lambda own, other: self.mixed(own, other, share, chance)

    @abstractmethod
    def mixed(self, own: Tokens, other: Tokens, share: float, chance: Generator) -> tuple[Tensor, float]:
        """The values, and the share in them that came of the one asked for."""


class MixUp(_Beta):
    """Each number the weighted mean of two samples' ([Zhang et al. 2018](https://arxiv.org/abs/1710.09412)).

    Args:
        alpha: of the beta distribution of the share; 0.2 as the paper has it for ImageNet. Of 1, all shares are as
            likely; of less, most samples are nearly alone.
        p: how likely a sample is mixed at all.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> a = Tokens(values=torch.ones(4, 3), positions=torch.zeros(4, 2), modality="vision")
        >>> b = replace(a, values=torch.zeros(4, 3))
        >>> values, share = MixUp(alpha=1.0).draw(torch.Generator().manual_seed(0))(a, b)
        >>> abs(float(values.mean()) - share) < 1e-6
        True
    """

    def __init__(self, *, alpha: Positive = 0.2, p: Share = 1.0) -> None:
        super().__init__(alpha=alpha, p=p)

    def mixed(self, own: Tokens, other: Tokens, share: float, chance: Generator) -> tuple[Tensor, float]:
        if not own.values.is_floating_point():
            raise ValueError(f"MixUp received ids of {own.modality}, which have no mean; choose CutMix, or numbers")
        return torch.lerp(other.values, own.values, share), share


class CutMix(_Beta):
    """A box of a sample's tokens taken from another ([Yun et al. 2019](https://arxiv.org/abs/1905.04899)).

    The box is one of whole tokens, along all axes on which they lie: a rectangle of patches, a stretch of frames.

    Args:
        alpha: of the beta distribution of the share outside of the box; 1 in the paper.
        p: how likely a sample is mixed at all.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> a = Tokens(values=torch.ones(4), positions=torch.arange(4.0)[:, None], modality="text")
        >>> b = replace(a, values=torch.zeros(4))
        >>> values, share = CutMix().draw(torch.Generator().manual_seed(0))(a, b)
        >>> float(values.mean()) == share
        True
    """

    def __init__(self, *, alpha: Positive = 1.0, p: Share = 1.0) -> None:
        super().__init__(alpha=alpha, p=p)

    def mixed(self, own: Tokens, other: Tokens, share: float, chance: Generator) -> tuple[Tensor, float]:
        axes = own.positions.shape[1]
        if not axes or not len(own):
            raise ValueError(f"CutMix received {len(own)} tokens of {own.modality} on {axes} axes, where no box is")
        low, high = own.positions.amin(0), own.positions.amax(0)
        # Around any place, so that a box at the border is smaller; the share is that of the tokens which are left.
        centre = low + torch.rand(axes, generator=chance) * (high - low)
        reach = (1 - share) ** (1 / axes) * (high - low) / 2
        inside = ((own.positions - centre).abs() <= reach).all(1)
        rows = inside.view(-1, *[1] * (own.values.ndim - 1))
        return torch.where(rows, other.values, own.values), 1 - float(inside.float().mean())


class Either(Mixing):
    """One of several mixings, each as likely.

    Args:
        parts: the mixings by names of your choice; the names are what a command line reaches them by.

    Raises:
        ValueError: there is none.

    Example:
        >>> Either({"mean": MixUp(p=0.0), "box": CutMix(p=0.0)}).draw(torch.Generator()) is None
        True
    """

    def __init__(self, parts: Mapping[str, Mixing]) -> None:
        self.parts = tuple(parts.values())
        if not self.parts:
            raise ValueError("parts={} has no mixing to choose from; give one or more")

    def draw(self, chance: Generator) -> Mix | None:
        return self.parts[int(torch.randint(len(self.parts), (), generator=chance))].draw(chance)


class MixedSamples(Samples):
    """Each sample mixed with another one of the same split, and its targets by the same share.

    The partner may be any sample of the split, as in the paper of MixUp, and is drawn, like the share, by (seed, epoch,
    sample id): what a sample becomes depends neither on its batch nor on ranks, workers or micro-batches. It costs
    reading the partner. A partner that cannot be read is passed over: its own turn tells of it.

    The class of a sample, `label`, becomes the share of each class, float `[n_classes]`. Other targets must be numbers,
    of which the weighted mean is taken.

    Args:
        samples: as they are unmixed.
        mixing: how they are mixed.
        n_classes: how many classes there are; None where samples have none.
        name: the name of the data set, for messages.
        seed: the seed of the run.
    """

    def __init__(self, samples: Samples, mixing: Mixing, *, n_classes: int | None, name: str, seed: int) -> None:
        self.samples = samples
        self.mixing = mixing
        self.n_classes = n_classes
        self.name = name
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def id(self, index: int) -> str:
        """The id of an example, without making it."""
        return self.samples.id(index)

    def length(self, index: int) -> int:
        """Tokens of an example, which mixing leaves as they are."""
        return self.samples.length(index)

    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it."""
        return self.many([(epoch, index)])[0]

    def many(self, keys: Sequence[tuple[int, int]]) -> list[Sample]:
        """The examples of some (epoch, index), and their partners, made together."""
        owns = self.samples.many(keys)
        chances = [generator(self.seed, epoch, own.id, "mix") for (epoch, _), own in zip(keys, owns, strict=True)]
        mixes = [self.mixing.draw(chance) for chance in chances]
        asked = [place for place, mix in enumerate(mixes) if mix is not None]
        partners = self._partners([keys[place][0] for place in asked], [chances[place] for place in asked])
        found = dict(zip(asked, partners, strict=True))
        return [self._mixed(own, found.get(place), mixes[place]) for place, own in enumerate(owns)]

    def _partners(self, epochs: Sequence[int], chances: Sequence[Generator]) -> list[Sample]:
        keys = [
            (e, int(torch.randint(len(self), (), generator=chance))) for e, chance in zip(epochs, chances, strict=True)
        ]
        try:
            return self.samples.many(keys)
        except SampleError:
            return [self._readable(*key, chance) for key, chance in zip(keys, chances, strict=True)]

    def _readable(self, epoch: int, index: int, chance: Generator) -> Sample:
        """The sample, or the next one drawn that can be read."""
        for _ in range(_TRIES - 1):
            try:
                return self.samples(epoch, index)
            except SampleError:
                index = int(torch.randint(len(self), (), generator=chance))
        return self.samples(epoch, index)

    def _mixed(self, own: Sample, other: Sample | None, mix: Mix | None) -> Sample:
        try:
            if other is None or mix is None:
                return replace(own, targets={name: self._soft(name, each) for name, each in own.targets.items()})
            values, share = mix(*_alike(own, other))
            targets = {
                name: torch.lerp(self._soft(name, other.targets[name]), self._soft(name, each), share)
                for name, each in own.targets.items()
            }
            return replace(own, pieces=(replace(own.pieces[0], values=values),), targets=targets)
        except ValueError as error:
            raise SampleError(f"sample {own.id!r} of {self.name}: {error}") from error

    def _soft(self, name: str, value: Tensor) -> Tensor:
        """A target of which a weighted mean can be taken."""
        if name == "label" and value.ndim == 0 and self.n_classes is not None:
            return functional.one_hot(value, self.n_classes).float()
        if not value.is_floating_point():
            raise ValueError(
                f"mix has no mean of the target {name!r} ({value.dtype}); it mixes numbers, and the target label where "
                "the data set states n_classes"
            )
        return value


def _alike(own: Sample, other: Sample) -> tuple[Tokens, Tokens]:
    """The tokens of two samples that can be mixed.

    Raises:
        ValueError: one has more than one piece, or what belongs to single tokens, or they lie at other places.
    """
    for sample in (own, other):
        if len(sample.pieces) != 1 or sample.answer or sample.token_targets:
            raise ValueError(
                f"mix takes samples of one modality with targets of the whole; {sample.id!r} has {len(sample.pieces)} "
                f"pieces, {len(sample.answer)} of an answer, and targets of tokens {sorted(sample.token_targets)}"
            )
        if (tokens := sample.pieces[0]).edges is not None or tokens.features or tokens.pairs:
            raise ValueError(f"mix received {tokens.modality} with edges or features of its own; it takes plain tokens")
    if own.targets.keys() != other.targets.keys():
        raise ValueError(
            f"mix takes samples with the same targets; it has {sorted(own.targets)} and its partner {other.id!r} "
            f"{sorted(other.targets)}"
        )
    mine, theirs = own.pieces[0], other.pieces[0]
    if mine.values.shape != theirs.values.shape or not torch.equal(mine.positions, theirs.positions):
        raise ValueError(
            f"mix takes samples whose tokens lie alike; it has {list(mine.values.shape)} and its partner {other.id!r} "
            f"{list(theirs.values.shape)}; give them one size, as tokenizer.image_size does"
        )
    return mine, theirs
