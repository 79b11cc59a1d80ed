"""How close written texts come to the expected ones."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.text import CharErrorRate, CHRFScore, SacreBLEUScore, WordErrorRate

Score = Literal["bleu", "chrf", "wer", "cer", "exact_match"]


class ExactMatch(Metric):
    """The share of texts that equal the expected ones, white space at the ends aside.

    Example:
        >>> metric = ExactMatch()
        >>> metric.update(["yes", "no "], ["yes", "no"])
        >>> metric.compute().item()
        1.0
    """

    full_state_update = False
    equal: Tensor
    texts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("equal", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("texts", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, written: Sequence[str], expected: Sequence[str]) -> None:
        """Adds texts and what they should have been, in the same order."""
        self.equal += sum(a.strip() == b.strip() for a, b in zip(written, expected, strict=True))
        self.texts += len(written)

    def compute(self) -> Tensor:
        """The share so far."""
        return self.equal / self.texts


class BLEU(SacreBLEUScore):
    """BLEU of a corpus, 0 to 100 ([Papineni et al. 2002](https://aclanthology.org/P02-1040)).

    Equal to sacrebleu's under its signature `nrefs:1|case:mixed|eff:no|tok:13a` ([Post 2018](https://arxiv.org/abs/1804.08771))
    wherever a text of every length from one to four words is found again; elsewhere 0, without smoothing.
    """

    def compute(self) -> Tensor:
        """The score of all texts so far."""
        return 100 * super().compute()


class CHRF(CHRFScore):
    """chrF of a corpus, 0 to 100: F-score of character sequences of one to six, recall counted double
    ([Popović 2015](https://aclanthology.org/W15-3049)).
    """

    def __init__(self) -> None:
        super().__init__(n_word_order=0)

    def compute(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The score of all texts so far."""
        score = super().compute()
        assert isinstance(score, Tensor)
        return 100 * score


SCORES: dict[str, Callable[[], Metric]] = {
    "bleu": BLEU,
    "chrf": CHRF,
    "wer": WordErrorRate,
    "cer": CharErrorRate,
    "exact_match": ExactMatch,
}


def compare(metrics: MetricCollection, scores: Sequence[str], written: Sequence[str], expected: Sequence[str]) -> None:
    """Feeds texts to those metrics of a collection that compare texts.

    Args:
        metrics: has a metric of each name in `scores`.
        scores: keys of `SCORES`.
        written: what a model wrote.
        expected: what it should have written, in the same order.
    """
    for score in scores:
        metric: Any = metrics[score]
        # BLEU and chrF may have several references for a text; ours have one.
        metric.update(list(written), [[text] for text in expected] if score in ("bleu", "chrf") else list(expected))
