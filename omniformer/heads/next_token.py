"""Which token comes next."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from omniformer.core import checks
from omniformer.core.attention.kernel import Score
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, NotNegative
from omniformer.heads.head import Head

_MOST_LOGITS = 1 << 27  # half a GiB in float32; a step holds it some three times over


class NextTokenHead(Head):
    """Scores of every id for the place after each token; by default with the embedder's own table
    ([Press and Wolf 2016](https://arxiv.org/abs/1608.05859)).

    Args:
        d_model: width of the core.
        vocab_size: number of ids.
        tied: whether the output table is the embedder's input table; the model ties them by name of modality.
        modality: whose ids are predicted.
        transform: makes what stands before the scores, called with `d_model`: `Transform` in BERT; nothing by default.
        bias: whether each id has an offset, as in BERT.
        kept_bias: whether each id has an offset that is kept with the weights but neither trained nor counted as one of
            them, as in the published files of BART and Marian (`final_logits_bias`).
        scale: factor of the core's output; `d_model^-0.5` in the first T5, whose tables are tied.
        score: a function of each logit, such as `SoftCap` in Gemma 2; none by default.

    Shapes:
        x `[tokens, d_model]` → `[tokens, vocab_size]`.
    """

    per_token = True
    makes = "ids"
    modality: str

    def __init__(
        self,
        *,
        d_model: Count,
        vocab_size: Count,
        tied: bool = True,
        modality: str = "text",
        transform: Callable[..., nn.Module] | None = None,
        bias: bool = False,
        kept_bias: bool = False,
        scale: NotNegative = 1.0,
        score: Score | None = None,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, vocab_size=vocab_size)
        self.tied, self.modality = tied, modality
        self.transform = nn.Identity() if transform is None else transform(d_model=d_model)
        self.ids = nn.Linear(d_model, vocab_size, bias=bias)
        self.kept_bias: Tensor | None
        self.register_buffer("kept_bias", torch.zeros(vocab_size) if kept_bias else None)
        self.scale, self.score = scale, score
        self.reset_parameters()

    @property
    def instead(self) -> str:
        """It writes."""
        return f"writes {self.modality}, it predicts no class: use python -m omniformer.generate"

    def share(self, embedders: Mapping[str, nn.Module], name: str) -> None:
        """Takes the table of its modality's embedder as its own, where they are tied.

        Raises:
            ValueError: that embedder has no table, or one of another shape.
        """
        if not self.tied:
            return
        table = getattr(embedders.get(self.modality), "table", None)
        if not isinstance(table, nn.Embedding):
            raise ValueError(
                f"head {name!r} is tied to the table of modality {self.modality!r}, which has no IdEmbedder; "
                "set tied=False"
            )
        self.tie(table)

    def tie(self, embedding: nn.Embedding) -> None:
        """Takes an embedder's table as its own.

        Raises:
            ValueError: the tables have different shapes.
        """
        ours, theirs = list(self.ids.weight.shape), list(embedding.weight.shape)
        if ours != theirs:
            raise ValueError(
                f"cannot tie an output table {ours} to an input table {theirs}; "
                "vocab_size and d_model must agree, or set tied=False"
            )
        self.ids.weight = embedding.weight

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Logits of the next id after each token."""
        return self.scores(x)

    def scores(self, x: Tensor) -> Tensor:
        """Logits of tokens, whoever they belong to.

        Shapes:
            x `[tokens, d_model]` → `[tokens, vocab_size]`.
        """
        x = self.transform(x)
        scores = self.ids(x if self.scale == 1 else x * self.scale)
        scores = scores if self.score is None else self.score(scores)
        return scores if self.kept_bias is None else scores + self.kept_bias

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities of the next id."""
        return outputs.float().softmax(-1)

    def losses(self, x: Tensor, targets: Tensor, most: int = _MOST_LOGITS, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of each target.

        Args:
            x: what the logits are made of.
            targets: the ids that follow.
            most: logits that exist at a time, in both passes; where there are more, those of a token at least are
                computed, and once more in the backward pass.
            label_smoothing: share of the target spread over all ids.

        Shapes:
            x `[tokens, d_model]`, targets int64 `[tokens]` → float32 `[tokens]`, in nats.
        """
        chunk = max(most // self.ids.out_features, 1)
        if len(x) <= chunk:
            return self._losses(x, targets, label_smoothing)
        parts = zip(x.split(chunk), targets.split(chunk), strict=True)
        return torch.cat(
            [checkpoint(self._losses, *part, label_smoothing, use_reentrant=False) for part in parts]  # pyright: ignore[reportArgumentType]
        )

    def _losses(self, x: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        return F.cross_entropy(self.scores(x).float(), targets, reduction="none", label_smoothing=label_smoothing)

    def reset_parameters(self) -> None:
        """Draws the table anew; a tied one is then replaced by the embedder's."""
        linear_(self.ids, 0.02)
