"""What a series does next: paths of it, drawn step by step."""

from collections.abc import Sequence
from typing import Any

import torch
from omniformer_tokenizers import ScaledBinsTokenizer, Tokens
from torch import Tensor

from omniformer.batch import Sample, collate
from omniformer.core.ranges import Count
from omniformer.generation.answer import head_making
from omniformer.generation.sampling import Sampling
from omniformer.generation.write import write
from omniformer.model import OmniFormer


class Forecaster:
    """Draws how series go on, for models that write the bins of a `ScaledBinsTokenizer`
    ([Ansari et al. 2024](https://arxiv.org/abs/2403.07815), Chronos, 3.3).

    Args:
        model: an encoder and a decoder, in evaluation mode.
        head: the name of a head that makes ids.
        tokenizer: of what is read and written.

    Raises:
        ValueError: the head makes no ids.
        TypeError: the tokenizer makes no scaled bins.

    Example:
        >>> from omniformer import pretrained
        >>> chronos = pretrained.load("models/chronos-t5-tiny")  # doctest: +SKIP
        >>> (paths,) = Forecaster.of(chronos).forecast([torch.sin(torch.arange(99.0))], steps=12)  # doctest: +SKIP
        >>> paths.shape, paths.quantile(0.9, dim=0).shape  # doctest: +SKIP
        (torch.Size([20, 12]), torch.Size([12]))
    """

    def __init__(self, model: OmniFormer, head: str, tokenizer: ScaledBinsTokenizer) -> None:
        head_making("ids", model, head)
        if not isinstance(tokenizer, ScaledBinsTokenizer):
            raise TypeError(
                f"{head!r} writes with a {type(tokenizer).__name__}; a forecast needs a ScaledBinsTokenizer"
            )
        self.model, self.head, self.tokenizer = model, head, tokenizer

    @classmethod
    def of(cls, trained: Any) -> "Forecaster":
        """The forecaster of a trained or published model.

        Args:
            trained: what `omniformer.load` gives; one of its members writes scaled bins.

        Raises:
            ValueError: none of its members does.
        """
        for name, member in trained.members.items():
            for tokenizer in member.tokenizers.values():
                if isinstance(tokenizer, ScaledBinsTokenizer):
                    return cls(trained.model, name, tokenizer)
        raise ValueError(f"no member of this model writes scaled bins, only {', '.join(trained.members) or 'nothing'}")

    def forecast(
        self,
        series: Sequence[Tensor],
        steps: Count,
        *,
        n: Count = 20,
        strategy: Sampling | None = None,
        batch_size: Count = 16,
    ) -> list[Tensor]:
        """Paths of each series.

        More steps than the tokenizer's `horizon` are written in turns, each of which reads the medians of the one
        before it; as published, they say less than the first turn does.

        Args:
            series: floats of one variable each, the last step last.
            steps: how many steps are forecast.
            n: paths of each series; 20 as published.
            strategy: how ids are drawn; at temperature 1 among the 50 most probable ones by default, as published. Its
                `n` is not read. With `Greedy()` there is one path, whatever `n` says.
            batch_size: series in one pass; paths do not depend on it.

        Shapes:
            each series float `[time]` → float32 `[n, steps]` each.

        Raises:
            ValueError: a series has no value, or cannot be read; names its place in the list. A number is below 1.
        """
        for name, number in {"steps": steps, "n": n, "batch_size": batch_size}.items():
            if number < 1:
                raise ValueError(f"{name}={number} must be at least 1")
        drawn = Sampling(temperature=1.0, top_k=50, n=n) if strategy is None else strategy
        known, found = [each.float() for each in series], [torch.zeros(0)] * len(series)
        for first in range(0, steps, self.tokenizer.horizon):
            length = min(self.tokenizer.horizon, steps - first)
            paths = [
                path
                for i in range(0, len(known), batch_size)
                for path in self._paths(known[i : i + batch_size], length, drawn, place=i, turn=first)
            ]
            found = paths if not first else [torch.cat(pair, dim=1) for pair in zip(found, paths, strict=True)]
            known = [torch.cat([one, path.median(0).values]) for one, path in zip(known, paths, strict=True)]
        return found

    def _paths(self, series: list[Tensor], steps: int, strategy: Sampling, *, place: int, turn: int) -> list[Tensor]:
        """Paths of some series, no longer than the horizon."""
        begun = torch.tensor([self.tokenizer.start])
        answer = Tokens(values=begun, positions=torch.zeros(1, 1), modality=self.tokenizer.modality)
        read = [self._read(each, place + i) for i, each in enumerate(series)]
        samples = [
            Sample(id=f"series {place + i} from step {turn}", pieces=[tokens], answer=[answer])
            for i, tokens in enumerate(read)
        ]
        batch = collate(samples).to(next(self.model.parameters()).device)
        options: dict[str, Any] = {"max_new_tokens": steps, "min_new_tokens": steps, "stop": (self.tokenizer.stop,)}
        written = write(self.model, self.head, batch, strategy=strategy, **options)
        return [
            self.tokenizer.values(torch.tensor([each.ids for each in paths]), tokens.facts["scale"])
            for paths, tokens in zip(written, read, strict=True)
        ]

    def _read(self, series: Tensor, place: int) -> Tokens:
        try:
            tokens = self.tokenizer(series)
        except (TypeError, ValueError) as error:
            raise type(error)(f"series {place}: {error}") from error
        if len(tokens.values) < 2:
            raise ValueError(f"series {place} has no value to go on from")
        return tokens
