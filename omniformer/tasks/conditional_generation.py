"""Writing a text about what is given: translation, captions, answers, transcripts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from omniformer_tokenizers import Tokenizer
from torchmetrics import MetricCollection

from omniformer.batch import Batch
from omniformer.core.ranges import BelowOne, Natural, NotNegative
from omniformer.core.rules import Rule
from omniformer.generation import Allowed, Greedy, Strategy, begin, write
from omniformer.heads.next_token import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks.causal_lm import CausalLM
from omniformer.tasks.task import Mode, Stage, Step
from omniformer.tasks.texts import SCORES, Score, compare


class ConditionalGeneration(CausalLM):
    """Writes the answer of each sample, token by token, given its other pieces
    ([Sutskever et al. 2014](https://arxiv.org/abs/1409.3215)).

    Trained with teacher forcing. With a core of encoder and decoder this is sequence-to-sequence learning; with any
    other core the given pieces are a prefix, which the rule `Causal() | Prefix()` lets the whole sample read. In test,
    texts are written out and compared with the expected ones.

    Args:
        head: scores the next id.
        tokenizers: by modality; that of the answer turns ids into text.
        rule: who may attend to whom among the tokens of the answer, and in a joint sequence; causal by default.
        strategy: how texts are written: `Greedy`, `Sampling`, `BeamSearch`.
        max_new_tokens: when a text ends at the latest.
        allowed: which ids a text may hold, and where; all, everywhere by default.
        scores: how texts are compared: `bleu` (of the corpus, tokenised as by sacrebleu's 13a), `chrf`, `wer` and `cer`
            (word and character error rates), `exact_match` (share of texts that are equal).
        stages: when texts are written; in test only by default, since writing takes longer than validating.
        label_smoothing: share of the target spread over all ids, in training only.
        loss_weight: factor of this task's loss in a mixture.

    Raises:
        ValueError: a score or stage is unknown, or no tokenizer is for the head's modality.
    """

    def __init__(
        self,
        *,
        head: NextTokenHead,
        tokenizers: Mapping[str, Tokenizer],
        rule: Rule | None = None,
        strategy: Strategy | None = None,
        max_new_tokens: Natural = 64,
        allowed: Allowed | None = None,
        scores: Sequence[Score] = ("exact_match",),
        stages: Sequence[Stage] = ("test",),
        label_smoothing: BelowOne = 0.0,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, label_smoothing=label_smoothing, loss_weight=loss_weight)
        if unknown := [score for score in scores if score not in SCORES]:
            raise ValueError(f"scores: received {unknown[0]!r}, accepted: {', '.join(SCORES)}")
        if unknown := [stage for stage in stages if stage not in ("val", "test")]:
            raise ValueError(f"stages: received {unknown[0]!r}, accepted: val, test")
        if head.modality not in tokenizers:
            raise ValueError(
                f"no tokenizer for {head.modality!r}, which the head writes; there are {sorted(tokenizers)}"
            )
        self.tokenizer = tokenizers[head.modality]
        if self.tokenizer.start is None:
            raise ValueError(f"{type(self.tokenizer).__name__} makes no ids that a model could write one by one")
        self.strategy = Greedy() if strategy is None else strategy
        self.max_new_tokens, self.allowed = max_new_tokens, allowed
        self.scores = tuple(scores)
        self.stages = tuple(stages)

    def measure(self, model: OmniFormer, batch: Batch, name: str, stage: Stage) -> Step:
        step = self.step(model, batch, name)
        if stage not in self.stages or batch.answer is None:
            return step
        written = write(
            model,
            name,
            begin(batch, self.tokenizer.beginning, modality=self.modality),
            strategy=self.strategy,
            stop=self.tokenizer.stops,
            max_new_tokens=self.max_new_tokens,
            allowed=self.allowed,
        )
        texts = tuple(self.tokenizer.decode(list(best[0].ids)) for best in written)  # pyright: ignore[reportArgumentType]
        answer = batch.answer.parts[self.modality]
        expected = tuple(
            self.tokenizer.decode(ids.tolist())  # pyright: ignore[reportArgumentType]
            for ids in answer.values.cpu().split(answer.lengths.tolist())
        )
        return replace(step, written=texts, expected=expected)

    def metrics(self) -> MetricCollection:
        texts = {score: SCORES[score]() for score in self.scores}
        return MetricCollection({**dict(super().metrics().items()), **texts}, compute_groups=False)

    def reported(self, stage: Stage) -> dict[str, Mode | None]:
        written = self.scores if stage in self.stages else ()
        return {
            name: mode for name, mode in super().reported(stage).items() if name in written or name not in self.scores
        }

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        super().update(metrics, step, batch)
        if step.written:
            compare(metrics, self.scores, step.written, step.expected)
