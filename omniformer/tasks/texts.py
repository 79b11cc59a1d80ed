"""How close written texts come to the expected ones."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.text import CharErrorRate, SacreBLEUScore, WordErrorRate

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
    higher_is_better = True
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


class CHRF(Metric):
    """chrF of a corpus, 0 to 100: precision and recall of character sequences of one to six, averaged over the lengths;
    then their F-score, recall counted double ([Popović 2015](https://aclanthology.org/W15-3049)). White space is
    left out.

    Equal to sacrebleu's. (The library at hand averages F-scores of the lengths instead.)

    Example:
        >>> metric = CHRF()
        >>> metric.update(["a cat"], ["a cat"])
        >>> metric.compute().item()
        100.0
    """

    full_state_update = False
    higher_is_better = True
    longest = 6
    written: Tensor
    expected: Tensor
    shared: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("written", "expected", "shared"):
            self.add_state(name, torch.zeros(self.longest, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, written: Sequence[str], expected: Sequence[str]) -> None:
        """Adds texts and what they should have been, in the same order."""
        for pair in zip(written, expected, strict=True):
            texts = ["".join(text.split()) for text in pair]
            for n in range(1, self.longest + 1):
                ours, theirs = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in texts)
                # As sacrebleu: where nothing of that length was expected, what was written of it is not counted.
                self.written[n - 1] += ours.total() if theirs else 0
                self.expected[n - 1] += theirs.total()
                self.shared[n - 1] += (ours & theirs).total()

    def compute(self) -> Tensor:
        """The score of all texts so far; 0 without a single sequence in common."""
        there = (self.written > 0) & (self.expected > 0)
        if not there.any() or not self.shared.any():
            return torch.zeros((), dtype=torch.float64)
        precision = (self.shared[there] / self.written[there]).mean()
        recall = (self.shared[there] / self.expected[there]).mean()
        return 100 * 5 * precision * recall / (4 * precision + recall)


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
        # BLEU may have several references for a text; ours have one.
        metric.update(list(written), [[text] for text in expected] if score == "bleu" else list(expected))
