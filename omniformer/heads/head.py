"""The contract every head keeps."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from omniformer.core.layout import Layout

Makes = Literal["ids", "pictures", "transcripts"]
Made = Makes | Literal["hidden"]  # ids that stand in holes, by a rule that sees ahead
Answers = Literal["rows", "span", "transcript"]


class Head(nn.Module, ABC):
    """Turns the core's output into predictions.

    `forward` gives raw outputs (logits), which a task's loss reads; `predict` turns them into what people read. These
    two make a head. What else is asked about heads, when they predict, write, embed, are counted, exported or written
    back, stands below with what holds for most of them; a head says what is otherwise with it.
    """

    per_token: ClassVar[bool] = False
    """Whether the outputs have one row for each token; else one for each sample."""
    answers: ClassVar[Answers] = "rows"
    """What one prediction is made of: a row of what `predict` gives; or the two scores of all tokens of a sample, for a
    span among them; or the best ids of all of its tokens, as a transcript."""
    instead: str = ""
    """What it does in the place of predicting, and what to call for that; empty where it predicts."""
    makes: ClassVar[Makes | None] = None
    """What is made with it: ids, one after the other; pictures, out of noise; transcripts, frame by frame."""
    modality: str | None = None
    """Whose ids it scores, each by its row; None where outputs are no ids, or nobody's in particular."""
    n_further: int = 0
    """How many ids behind the next one it scores too: `further_scores(x, place)` are those of so many places behind."""
    compares: ClassVar[bool] = False
    """Whether samples of its `modalities` meet in a space of `d_embedding` axes, by `embed(x, layout, modality)`; a
    loss multiplies their cosines by `scale()` and adds `bias`, which exported programs note."""
    embeds: ClassVar[bool] = False
    """Whether its outputs are vectors of whole texts, which `compare` compares, and which read texts as `prompted` puts
    them: see `SentenceHead`."""
    output: ClassVar[str] = "logits"
    """What raw outputs are called in exported programs."""
    tells_classes: ClassVar[bool] = False
    """Whether `predict` gives probabilities of classes, which exported programs return beside the raw outputs."""
    problem: ClassVar[str | None] = None
    """What the reference library's `config.json` calls the problem that it solves; None where that goes without
    saying."""
    n_numbers: int = 0
    """How many numbers without a name it predicts of a sample."""

    @property
    def last_map(self) -> nn.Linear | None:
        """The linear map that ends it, where all before it may be taken as features of samples, or of tokens where the
        head is `per_token`; else None.
        """
        return None

    def in_units(self, targets: Tensor) -> Tensor:
        """Targets as the last map gives them: as they are by default."""
        return targets

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Raw outputs.

        Shapes:
            x `[tokens, d_model]` → `[samples or tokens, outputs]`.
        """

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Outputs as people read them: probabilities, or values in the units of the target."""

    def share(self, embedders: Mapping[str, nn.Module], name: str) -> None:
        """Takes what it shares with the embedders of a model, such as a table of ids; nothing by default.

        Args:
            embedders: by modality.
            name: of the head in that model, for messages.
        """

    def published(self, x: Tensor, layout: Layout) -> dict[str, Tensor]:
        """Raw outputs by the names that the reference library has for them."""
        return {"logits": self(x, layout)}

    def plain(self) -> "Head":
        """The same function as published models have it; the head itself by default."""
        return self
