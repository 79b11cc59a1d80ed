"""Hiding tokens that a model is to find again: masked modelling of any modality."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.batch import Sample
from omniformer.core.ranges import Count, Share, SomeShare
from omniformer.data import spans
from omniformer.data.each_raw import EachRaw
from omniformer.data.random import generator
from omniformer.data.samples import Arrangement, SampleError, Samples
from omniformer.data.source import Raw, Split


class Masked(Arrangement):
    """Hides a share of one modality's tokens, which become what is to be predicted: text as in
    [Devlin et al. 2018](https://arxiv.org/abs/1810.04805), patches as in [He et al. 2021](https://arxiv.org/abs/2111.06377),
    runs of frames as in [Hsu et al. 2021](https://arxiv.org/abs/2106.07447), nodes as in
    [Hu et al. 2019](https://arxiv.org/abs/1905.12265).

    The pieces get the feature `masked`, which `Maskable` embedders read. The token targets of a sample are `mask`, True
    for the tokens to be predicted, and `ids`, what they were: the ids, or the first categorical field of a node;
    `values` where tokens are vectors. Targets of samples as wholes stay; token targets of the data give way.

    Every epoch of training hides other tokens; evaluation always the same ones, whatever the seed of the run.

    Args:
        modality: whose tokens are hidden; others of the sample stay as they are.
        share: how many of its tokens, at least one.
        mean_span: 1 hides single tokens; more hides runs of so many on average, as frames that resemble their
            neighbours need.
        unchanged: the share of the hidden tokens that stay visible all the same, so that a model must mistrust what it
            sees; 0.1 in the first of these papers.
        random: the share that is replaced: ids and categories by others drawn from the whole vocabulary, vectors by
            those of other tokens of the sample; 0.1 there.
        max_tokens: the longest piece: a longer one is cut, at a random place in training, after so many tokens in
            evaluation. None leaves pieces whole.
        token: the special token of the vocabulary that stands where an id is hidden, such as `[MASK]` of published
            models; embedders need then not be `Maskable`, and special tokens are never hidden. None leaves it to them.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> Masked(modality="audio", share=0.5, mean_span=10, unchanged=0, random=0).mean_span
        10
    """

    def __init__(
        self,
        *,
        modality: str,
        share: SomeShare = 0.15,
        mean_span: Count = 1,
        unchanged: Share = 0.1,
        random: Share = 0.1,
        max_tokens: Count | None = None,
        token: str | None = None,
    ) -> None:
        spans.check(share=share, mean_span=mean_span)
        if unchanged < 0 or random < 0 or unchanged + random > 1:
            raise ValueError(f"unchanged={unchanged} and random={random} must be shares that add up to at most 1")
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens} must be at least 1, or null")
        self.modality = modality
        self.share = share
        self.mean_span = mean_span
        self.unchanged = unchanged
        self.random = random
        self.max_tokens = max_tokens
        self.token = token

    def __call__(
        self, raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer], *, name: str, seed: int, split: Split
    ) -> Samples:
        """The samples of one split, with hidden tokens.

        Raises:
            ValueError: there is no tokenizer for the modality, it does not say what its tokens are, or it has no
                special token of that name.
        """
        if self.modality not in tokenizers:
            raise ValueError(
                f"modality={self.modality!r} is to be masked, but {name} has tokenizers for {sorted(tokenizers)}"
            )
        whole = EachRaw(raws, tokenizers, name=name, seed=seed)
        tokenizer: Any = tokenizers[self.modality]
        special: dict[str, int] = {}
        if self.token is not None:
            special = {each: tokenizer.special_id(each) for each in getattr(tokenizer, "special_tokens", ())}
            if self.token not in special:
                raise ValueError(
                    f"token={self.token!r} is no special token of the tokenizer of {self.modality!r}; it has "
                    f"{', '.join(special) or 'none'}"
                )
        train = split == "train"
        return MaskedSamples(whole, self, tokenizer.facts, special=special, name=name, seed=seed, train=train)


class MaskedSamples(Samples):
    """Samples with hidden tokens; made by `Masked`."""

    def __init__(
        self,
        whole: EachRaw,
        how: Masked,
        facts: Mapping[str, object],
        *,
        special: Mapping[str, int] | None = None,
        name: str,
        seed: int,
        train: bool,
    ) -> None:
        self.whole = whole
        self.how = how
        self.special = dict(special or {})
        self.name = name
        self.seed = seed
        self.train = train
        sizes = [facts["vocab_size"]] if "vocab_size" in facts else facts.get("vocab_sizes")
        self.vocab_sizes: list[int] = list(sizes or ())  # pyright: ignore[reportCallIssue,reportArgumentType]
        self.width = int(facts.get("features") or 0)  # pyright: ignore[reportArgumentType]
        if not self.vocab_sizes and not self.width:
            raise ValueError(
                f"tokens of {how.modality!r} of {name} are neither ids nor vectors of a known width; "
                f"their tokenizer says {dict(facts)}"
            )

    def __len__(self) -> int:
        return len(self.whole)

    def id(self, index: int) -> str:
        """The id of an example, without making it."""
        return self.whole.id(index)

    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it."""
        sample = self.whole(epoch, index)
        seed, epoch = (self.seed, epoch) if self.train else (0, 0)
        chance = generator(seed, epoch, sample.id, "mask")
        pieces, masks, targets = [], [], []
        for piece in sample.pieces:
            if piece.modality != self.how.modality:
                masks.append(torch.zeros(len(piece), dtype=torch.bool))
                targets.append(self._nothing(len(piece)))
            else:
                piece = self._cropped(piece, sample.id, epoch)
                mask = self._chosen(piece, chance)
                masks.append(mask)
                targets.append(self._targets(piece, mask))
                piece = self._hidden(piece, mask, chance)
            pieces.append(piece)
        what = "ids" if self.vocab_sizes else "values"
        return replace(
            sample,
            pieces=tuple(pieces),
            token_targets={
                "mask": torch.cat(masks) if masks else torch.zeros(0, dtype=torch.bool),
                what: torch.cat(targets) if targets else self._nothing(0),
            },
        )

    def _nothing(self, n_tokens: int) -> Tensor:
        if self.vocab_sizes:
            return torch.zeros(n_tokens, dtype=torch.long)
        return torch.zeros(n_tokens, self.width)

    def _targets(self, piece: Tokens, mask: Tensor) -> Tensor:
        """What the hidden tokens were; zeros for the others."""
        values = piece.values[:, 0] if self.vocab_sizes and piece.values.ndim == 2 else piece.values
        rows = values.long() if self.vocab_sizes else values.float()
        return torch.where(mask if rows.ndim == 1 else mask[:, None], rows, torch.zeros_like(rows))

    def _cropped(self, piece: Tokens, sample_id: str, epoch: int) -> Tokens:
        longest = self.how.max_tokens
        if longest is None or len(piece) <= longest:
            return piece
        if piece.edges is not None or piece.pairs:
            raise SampleError(
                f"sample {sample_id!r} of {self.name}: a graph of {len(piece)} tokens cannot be cut to "
                f"max_tokens={longest}; set max_tokens=null"
            )
        chance = generator(self.seed, epoch, sample_id, "crop")
        first = int(torch.randint(len(piece) - longest + 1, (), generator=chance)) if self.train else 0
        kept = slice(first, first + longest)
        positions = piece.positions[kept]
        if positions.shape[1] == 1:  # a place in a sequence counts from where the sequence now begins
            positions = positions - positions[:1]
        features = {name: feature[kept] for name, feature in piece.features.items()}
        return replace(piece, values=piece.values[kept], positions=positions, features=features)

    def _chosen(self, piece: Tokens, chance: torch.Generator) -> Tensor:
        """Which tokens are to be predicted. Of a graph with further tokens, only nodes; of a published vocabulary, no
        special tokens.
        """
        kind = piece.features.get("kind")
        places = torch.arange(len(piece)) if kind is None else (kind == 0).nonzero().flatten()
        if self.special:
            places = places[~torch.isin(piece.values[places], torch.tensor(list(self.special.values())))]
        mask = torch.zeros(len(piece), dtype=torch.bool)
        mask[places] = spans.random_mask(
            len(places), share=self.how.share, mean_span=self.how.mean_span, generator=chance
        )
        return mask

    def _hidden(self, piece: Tokens, mask: Tensor, chance: torch.Generator) -> Tokens:
        """The piece as the model sees it."""
        fate = torch.rand(len(piece), generator=chance)
        replaced = mask & (fate < self.how.random)
        blank = mask & (fate >= self.how.random + self.how.unchanged)
        values = piece.values.clone()
        n = int(replaced.sum())
        if not self.vocab_sizes:
            others = torch.randint(max(len(piece), 1), (n,), generator=chance)
            values[replaced] = piece.values[others]
        elif values.ndim == 1:
            values[replaced] = torch.randint(self.vocab_sizes[0], (n,), generator=chance).to(values.dtype)
        else:
            columns = [torch.randint(size, (n,), generator=chance) for size in self.vocab_sizes]
            values[replaced] = torch.stack(columns, dim=1).to(values.dtype)
        if self.how.token is not None:
            values[blank] = self.special[self.how.token]
            return replace(piece, values=values)
        return replace(piece, values=values, features={**piece.features, "masked": blank})
