"""How weights on the tokens of one piece are drawn: on a picture or a graph, over a sound, beside words."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from omniformer_tokenizers import Tokens
from omniformer_tokenizers.class_tokens import FEATURE
from torch import Tensor

from omniformer.inspection.looks import spelled
from omniformer.pages.contents import SIDE, places
from omniformer.pages.drawing import ACCENT, SECOND, shades

WIDTH = 8.0  # inches
LONGEST = 48  # tokens that have labels
_ACROSS = 6  # small drawings beside each other


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One piece of what a sample was given, and how it was looked at.

    Shapes:
        weights `[rows, tokens of the piece]`.
    """

    piece: Tokens
    tokenizer: Any
    weights: Tensor
    labels: Sequence[str]

    def bare(self) -> "Panel":
        """The same without class tokens, which show nothing; their weight is told beside each row."""
        number = self.piece.features.get(FEATURE)
        if number is None:
            return self
        others = number == 0
        features = {name: rows[others] for name, rows in self.piece.features.items() if name != FEATURE}
        taken = self.weights[:, ~others].sum(1).tolist()
        return Panel(
            piece=replace(
                self.piece, values=self.piece.values[others], positions=self.piece.positions[others], features=features
            ),
            tokenizer=self.tokenizer.tokenizer,
            weights=self.weights[:, others],
            labels=[f"{label} ({share:.2f} class token)" for label, share in zip(self.labels, taken, strict=True)],
        )


class View(ABC):
    """A way to draw a panel."""

    @abstractmethod
    def fits(self, panel: Panel) -> bool:
        """Whether a panel is drawn so."""

    @abstractmethod
    def height(self, panel: Panel) -> float:
        """How high it is, in inches."""

    @abstractmethod
    def draw(self, part: Any, panel: Panel) -> None:
        """Draws it on a figure, or a part of one."""


class Small(View):
    """Weights on what the piece shows: once as it is, and once for each row."""

    size = 1.15  # inches, of what is square

    @abstractmethod
    def base(self, ax: Any, panel: Panel, *, faint: bool) -> None:
        """Draws what the piece shows."""

    @abstractmethod
    def over(self, ax: Any, panel: Panel, row: Tensor, most: float) -> Any:
        """Draws the weights of a row over it; gives what a colour bar is made of."""

    def height(self, panel: Panel) -> float:
        return (self.size + 0.3) * self._rows(panel) + 0.1

    def draw(self, part: Any, panel: Panel) -> None:
        n_rows = self._rows(panel)
        axes = list(part.subplots(n_rows, min(_ACROSS, len(panel.labels) + 1), squeeze=False).flatten())
        for ax in axes:
            ax.set_axis_off()
        self.base(axes[0], panel, faint=False)
        axes[0].set_title("given", fontsize=9, loc="center")
        most = max(float(panel.weights.max()), 1e-9)
        shown = None
        for ax, row, label in zip(axes[1:], panel.weights, panel.labels, strict=False):
            self.base(ax, panel, faint=True)
            shown = self.over(ax, panel, row, most)
            ax.set_title(label.replace(" (", "\n("), fontsize=9, loc="center")
        _bar(part, shown, axes)

    def _rows(self, panel: Panel) -> int:
        return math.ceil((len(panel.labels) + 1) / _ACROSS)


class OnPicture(Small):
    """Patches of a picture, whose tokenizer makes it again."""

    def fits(self, panel: Panel) -> bool:
        return panel.piece.positions.shape[1] == 2 and "size" in panel.piece.facts and panel.piece.values.ndim == 2

    def base(self, ax: Any, panel: Panel, *, faint: bool) -> None:
        pixels = panel.tokenizer.decode(panel.piece).permute(1, 2, 0).expand(-1, -1, 3).float() / 255
        # In grey, and pale, so that what lies over it is all that is coloured.
        ax.imshow((0.55 + 0.45 * pixels.mean(-1, keepdim=True).expand(-1, -1, 3) if faint else pixels).numpy())

    def over(self, ax: Any, panel: Panel, row: Tensor, most: float) -> Any:
        right, bottom = ax.get_xlim()[1], ax.get_ylim()[0]
        heat = grid(panel.piece.positions, row)
        return ax.imshow(
            heat.numpy(), cmap=shades(SECOND), vmin=0, vmax=most, interpolation="nearest",
            extent=(-0.5, right, bottom, -0.5),
        )  # fmt: skip


class OnSpectrogram(Small):
    """Patches of a spectrogram: time goes right, low tones are below."""

    def fits(self, panel: Panel) -> bool:
        return panel.piece.positions.shape[1] == 2 and hasattr(panel.tokenizer, "to_frames")

    def base(self, ax: Any, panel: Panel, *, faint: bool) -> None:
        frames = panel.tokenizer.to_frames(panel.piece)
        ax.imshow(frames.T.numpy(), origin="lower", aspect="auto", cmap="Greys", alpha=0.45 if faint else 1.0)

    def over(self, ax: Any, panel: Panel, row: Tensor, most: float) -> Any:
        heat = grid(panel.piece.positions, row).T.numpy()
        extent = (*ax.get_xlim(), *ax.get_ylim())
        return ax.imshow(
            heat, origin="lower", aspect="auto", cmap=shades(SECOND), vmin=0, vmax=most, interpolation="nearest",
            extent=extent,
        )  # fmt: skip


class OnGraph(Small):
    """Nodes and edges, each node as strongly as it counts."""

    def fits(self, panel: Panel) -> bool:
        return panel.piece.edges is not None

    def base(self, ax: Any, panel: Panel, *, faint: bool) -> None:
        x, y = self._places(panel)
        edges: Any = panel.piece.edges
        for a, b in sorted({(min(pair), max(pair)) for pair in edges.T.tolist()}):
            ax.plot([x[a], x[b]], [y[a], y[b]], color="#8a8f98", lw=0.8, zorder=1)
        if not faint:
            ax.scatter(x, y, s=self._area(panel), color=ACCENT, zorder=2)
        ax.set(xlim=(0, SIDE), ylim=(SIDE, 0), aspect="equal")

    def over(self, ax: Any, panel: Panel, row: Tensor, most: float) -> Any:
        x, y = self._places(panel)
        ax.scatter(x, y, s=self._area(panel), color="white", zorder=2)
        return ax.scatter(
            x, y, s=self._area(panel), c=row.numpy(), cmap=shades(), vmin=0, vmax=most, zorder=3, edgecolors=ACCENT,
            lw=0.6,
        )  # fmt: skip

    def _places(self, panel: Panel) -> tuple[list[float], list[float]]:
        edges: Any = panel.piece.edges
        x, y = zip(*places(len(panel.piece), {(a, b) for a, b in edges.T.tolist()}), strict=True)
        return list(x), list(y)

    def _area(self, panel: Panel) -> float:
        return max(4.0, 90.0 / (1 + len(panel.piece) / 12))


class OverSound(View):
    """Frames of a spectrogram, which stands above; both over seconds."""

    def fits(self, panel: Panel) -> bool:
        return panel.piece.positions.shape[1] == 1 and hasattr(panel.tokenizer, "to_frames")

    def height(self, panel: Panel) -> float:
        return 1.9 + 0.26 * max(len(panel.labels), 4)

    def draw(self, part: Any, panel: Panel) -> None:
        tokenizer = panel.tokenizer
        frames = tokenizer.to_frames(panel.piece)
        second = tokenizer.sample_rate / tokenizer.hop_length
        step = tokenizer.frame_stride or tokenizer.frames_per_token
        rows = len(panel.labels)
        above, below = part.subplots(2, 1, sharex=True, height_ratios=[1.0, max(1.0, 0.24 * rows)])
        above.imshow(
            frames.T.numpy(), origin="lower", aspect="auto", cmap=shades(),
            extent=(0, len(frames) / second, 0, len(frames[0])),
        )  # fmt: skip
        above.set_ylabel("mel band", fontsize=9)
        shown = below.imshow(
            panel.weights.numpy(), aspect="auto", cmap=shades(), vmin=0, interpolation="nearest",
            extent=(0, len(panel.piece) * step / second, rows, 0),
        )  # fmt: skip
        below.set_yticks([i + 0.5 for i in range(rows)], panel.labels, fontsize=9)
        below.set_xlabel("seconds", fontsize=9)
        _bar(part, shown, below)


class Beside(View):
    """Tokens along the upper edge: of a text what they say, of anything else their numbers."""

    def fits(self, panel: Panel) -> bool:
        return len(panel.piece) <= LONGEST

    def height(self, panel: Panel) -> float:
        return 0.24 * max(len(panel.labels), 4) + 0.1 * max(map(len, names(panel)), default=0) + 0.2

    def draw(self, part: Any, panel: Panel) -> None:
        _matrix(part, part.subplots(), panel.weights, panel.labels, names(panel))


class Long(View):
    """A curve for each row; and that part which counts most, token by token."""

    def fits(self, panel: Panel) -> bool:
        return True

    def height(self, panel: Panel) -> float:
        return 3.0 + 0.26 * max(len(panel.labels), 4)

    def draw(self, part: Any, panel: Panel) -> None:
        from matplotlib import colormaps  # pyright: ignore[reportMissingImports]

        rows = len(panel.labels)
        above, below = part.subplots(2, 1, height_ratios=[1.6, max(1.2, 0.2 * rows)])
        colours = colormaps["viridis"]([0.9 * i / max(rows - 1, 1) for i in range(rows)])
        for row, label, colour in zip(panel.weights, panel.labels, colours, strict=True):
            above.plot(row.numpy(), color=colour, linewidth=1.2, label=label)
        above.set(xlim=(0, len(panel.piece) - 1), ylim=(0, None), xlabel="token that is given", ylabel="weight")
        if rows <= 16:
            above.legend(loc="upper right", fontsize=7, ncols=4)
        first, last = most_read(panel.weights)
        _matrix(part, below, panel.weights[:, first:last], panel.labels, names(panel)[first:last])
        below.set_title(f"tokens {first} to {last - 1}, which count most", fontsize=9)


# In the order in which they are asked whether a panel is drawn so.
VIEWS: tuple[View, ...] = (OnGraph(), OnPicture(), OnSpectrogram(), OverSound(), Beside(), Long())


def view_of(panel: Panel) -> View:
    """How a panel is drawn."""
    return next(view for view in VIEWS if view.fits(panel))


def names(panel: Panel) -> list[str]:
    """The tokens of a text by what they say, others by their number."""
    if is_text(panel):
        return spelled(panel.tokenizer, panel.piece.values.tolist())
    return [str(i) for i in range(len(panel.piece))]


def is_text(panel: Panel) -> bool:
    """Whether tokens are ids that say something."""
    return panel.piece.values.ndim == 1 and panel.tokenizer.modality == "text"


def most_read(weights: Tensor, n: int = 24) -> tuple[int, int]:
    """The stretch of at most n given tokens that get most weight from all rows.

    Example:
        >>> import torch
        >>> most_read(torch.eye(3, 9), n=4)
        (0, 4)
    """
    n = min(n, weights.shape[1])
    sums = weights.sum(0).unfold(0, n, 1).sum(-1)
    first = int(sums.argmax())
    return first, first + n


def grid(positions: Tensor, weights: Tensor) -> Tensor:
    """Weights of patches as a picture, from their coordinates.

    Shapes:
        positions `[tokens, 2]`, weights `[tokens]` → `[rows, columns]`.

    Example:
        >>> import torch
        >>> grid(torch.tensor([[0.0, 0.0], [1.0, 0.5]]), torch.tensor([0.25, 0.75])).tolist()
        [[0.25, 0.0], [0.0, 0.75]]
    """
    rows, row = positions[:, 0].unique(return_inverse=True)
    columns, column = positions[:, 1].unique(return_inverse=True)
    return weights.new_zeros(len(rows), len(columns)).index_put((row, column), weights)


def _matrix(part: Any, ax: Any, weights: Tensor, labels: Sequence[str], tokens: Sequence[str]) -> None:
    """Weights with a label for each row and column."""
    shown = ax.imshow(weights.numpy(), cmap=shades(), vmin=0, aspect="auto", interpolation="nearest")
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(tokens)), tokens, rotation=90 if max(map(len, tokens), default=0) > 2 else 0, fontsize=9)
    ax.set_yticks(range(len(labels)), labels, fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    _bar(part, shown, ax)


def _bar(part: Any, shown: Any, axes: Any) -> None:
    bar = part.colorbar(shown, ax=axes, fraction=0.03, pad=0.01, aspect=30)
    bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
