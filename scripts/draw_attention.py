"""Draws what a trained model reads while it writes: one PNG file a sample, from a run folder.

    python -m omniformer.train experiment=translation data_root=<folder of data sets>
    python scripts/draw_attention.py outputs/translation/<time> --index 0 1 2 --out pictures

The model writes its own answer to each sample of the data that it was trained with (the most probable id at every
step); drawn are the weights with which each token of what was written looked at each token of what was given:
`omniformer.inspection.alignment`, averaged over layers and heads unless one is picked. A text that is given has its
tokens along the upper edge, a long one a curve for each token written; a sound its spectrogram and seconds; a picture
is drawn once for each token written. A task that is given several of these has a panel for each.

Needs matplotlib: uv sync --extra plots.
"""

import argparse
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer, Tokens, framed
from torch import Tensor

from omniformer import folder
from omniformer.batch import Sample, collate
from omniformer.config import ConfigError, reported
from omniformer.data.from_config import build_data
from omniformer.generation import Greedy, Writer, begin, write
from omniformer.inspection.alignment import alignment
from omniformer.recipe import members
from omniformer.run_folder import read_run, reading_run

MAP = "BuPu"  # white where nothing is read, ever darker where more is
WIDTH = 8.0  # inches
DPI = 110
LONGEST = 48  # tokens of a text that have labels
MOST_PICTURES = 11  # of a picture, one for each token written
GREY = "0.45"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One piece of what a sample was given, and how it was read.

    Shapes:
        weights `[written tokens, tokens of the piece]`.
    """

    piece: Tokens
    tokenizer: Any
    weights: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """All that one picture shows."""

    task: str
    words: list[str]
    text: str
    expected: str
    panels: list[Panel]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes and draws."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a finished run folder of a task that answers with text")
    parser.add_argument("--data-root", help="where data sets lie (default: where they lay in training)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    parser.add_argument("--index", type=int, nargs="+", default=[0], help="numbers of the samples (default: 0)")
    parser.add_argument("--layer", type=int, help="one layer of those that read what is given (default: their mean)")
    parser.add_argument("--head", type=int, help="one head (default: the mean of all)")
    parser.add_argument("--member", help="which task writes, in a model that has several")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the pictures go: <task>-<split>-<n>.png")
    parser.add_argument("--allow-targets", nargs="*", default=[], metavar="PACKAGE", help="packages that the run names")
    given = parser.parse_args(arguments)
    with reported():
        _need_matplotlib()
        out = Path(given.out)
        for i, drawing in zip(given.index, drawings(given), strict=True):
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{drawing.task}-{given.split}-{i}.png"
            path.write_bytes(picture(drawing))
            print(f"{path}  {drawing.text}")


def drawings(given: argparse.Namespace) -> list[Drawing]:
    """What the model of a run writes for some samples, and what it reads meanwhile."""
    _, config = read_run(given.run)
    if given.data_root is not None:
        config = _moved(config, given.data_root)
    predictor = folder.load(given.run, allow_targets=given.allow_targets)
    writer = predictor.writer(given.member)
    if not isinstance(writer, Writer) or not writer.writes_text:
        raise ConfigError([f"{writer.head!r} does not write text token by token; there is nothing to draw"])
    with reading_run(config, given.allow_targets):
        data = build_data(config, {name: dict(each.tokenizers) for name, each in predictor.members.items()})
    samples = data.samples(writer.head, given.split)
    if wrong := [i for i in given.index if not 0 <= i < len(samples)]:
        raise ConfigError([f"--index: received {wrong[0]}, accepted 0 to {len(samples) - 1}"])
    if not samples(0, given.index[0]).answer:
        raise ConfigError([f"{writer.head!r} is given nothing to answer; there is nothing to draw"])
    longest = members(config)[writer.head]["task"].get("max_new_tokens", 64)
    tokenizers = predictor.members[writer.head].tokenizers
    return [
        drawing(writer, samples(0, i), tokenizers, max_new_tokens=longest, layer=given.layer, head=given.head)
        for i in given.index
    ]


def drawing(
    writer: Writer,
    sample: Sample,
    tokenizers: Mapping[str, Tokenizer],
    *,
    max_new_tokens: int,
    layer: int | None,
    head: int | None,
) -> Drawing:
    """What a model writes for one sample, and what it reads meanwhile."""
    start, stop = writer.tokenizer.start, writer.tokenizer.stop
    assert start is not None
    model, decode = writer.model, writer.tokenizer.decode
    with torch.inference_mode():
        ((best,),) = write(
            model,
            writer.head,
            begin(collate([sample]), start, modality=writer.modality),
            strategy=Greedy(),
            stop=() if stop is None else (stop,),
            max_new_tokens=max_new_tokens,
        )
        places = torch.arange(len(best.ids)).float()[:, None]
        written = Tokens(values=torch.tensor(best.ids).long(), positions=places, modality=writer.modality)
        answered = replace(sample, answer=[framed(written, start=start)])
        (weights,) = alignment(model, writer.head, collate([answered]), layer=layer, attention_head=head)
    words = _labels(writer.tokenizer, best.ids) + ["(end)"] * best.ended
    columns = weights[: len(words)].split([len(piece) for piece in sample.pieces], dim=1)
    return Drawing(
        task=writer.head,
        words=words,
        text=decode(list(best.ids)),  # pyright: ignore[reportArgumentType]
        expected=decode(sample.answer[0].values.tolist()),  # pyright: ignore[reportArgumentType]
        panels=[
            Panel(piece=piece, tokenizer=tokenizers[piece.modality], weights=part)
            for piece, part in zip(sample.pieces, columns, strict=True)
            if len(piece)
        ],
    )


def picture(drawing: Drawing) -> bytes:
    """A drawing as a PNG file of at most 256 colours, which keeps it small."""
    import matplotlib  # pyright: ignore[reportMissingImports]

    matplotlib.use("Agg")
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    from PIL import Image

    kinds = [_kind(panel) for panel in drawing.panels]
    heights = [_HEIGHTS[kind](panel, len(drawing.words)) for kind, panel in zip(kinds, drawing.panels, strict=True)]
    title = [*textwrap.wrap(f"written: {drawing.text}", 84)] or ["written: nothing"]
    expected = textwrap.wrap(f"expected: {drawing.expected}", 100)
    top = 0.22 * (len(title) + len(expected)) + 0.12
    figure = Figure(figsize=(WIDTH, sum(heights) + top), dpi=DPI, facecolor="white", layout="constrained")
    head, *parts = figure.subfigures(1 + len(heights), 1, height_ratios=[top, *heights], squeeze=False)[:, 0]
    head.text(0.01, 0.92, "\n".join(title), va="top", fontsize=11)
    head.text(0.01, 0.92 - 0.22 * len(title) / top, "\n".join(expected), va="top", fontsize=9, color=GREY)
    for kind, part, panel in zip(kinds, parts, drawing.panels, strict=True):
        _DRAWN[kind](part, panel, drawing.words)
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png")
    Image.open(raw).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def _kind(panel: Panel) -> str:
    """How a piece is drawn: by what it is and how long."""
    tokenizer, piece = panel.tokenizer, panel.piece
    if hasattr(tokenizer, "to_frames") and piece.positions.shape[1] == 1:
        return "sound"
    if piece.positions.shape[1] == 2 and hasattr(tokenizer, "image_size"):
        return "picture"
    return "short" if len(piece) <= LONGEST else "long"


def _short(part: Any, panel: Panel, words: list[str]) -> None:
    """A text: its tokens along the upper edge."""
    _matrix(part, part.subplots(), panel.weights, words, _given_labels(panel))


def _long(part: Any, panel: Panel, words: list[str]) -> None:
    """A long text: a curve for each token written; and that part of it which is read most, token by token."""
    from matplotlib import colormaps  # pyright: ignore[reportMissingImports]

    above, below = part.subplots(2, 1, height_ratios=[1.6, max(1.2, 0.2 * len(words))])
    colours = colormaps[MAP]([0.35 + 0.6 * i / max(len(words) - 1, 1) for i in range(len(words))])
    for row, word, colour in zip(panel.weights, words, colours, strict=True):
        above.plot(row.numpy(), color=colour, linewidth=1.2, label=word)
    above.set(xlim=(0, len(panel.piece) - 1), ylim=(0, None), xlabel="token that is given", ylabel="weight")
    above.spines[["top", "right"]].set_visible(False)
    if len(words) <= 16:
        above.legend(loc="upper right", fontsize=7, ncols=4, frameon=False, title="while writing", title_fontsize=7)
    first, last = most_read(panel.weights)
    labels = _given_labels(panel)[first:last]
    _matrix(part, below, panel.weights[:, first:last], words, labels)
    below.set_title(f"tokens {first} to {last - 1}, which are read most", fontsize=9, color=GREY, loc="left")


def most_read(weights: Tensor, n: int = 24) -> tuple[int, int]:
    """The stretch of at most n given tokens that get most weight from all tokens written.

    Example:
        >>> most_read(torch.eye(3, 9), n=4)
        (0, 4)
    """
    n = min(n, weights.shape[1])
    sums = weights.sum(0).unfold(0, n, 1).sum(-1)
    first = int(sums.argmax())
    return first, first + n


def _sound(part: Any, panel: Panel, words: list[str]) -> None:
    """A sound: its spectrogram above, both over seconds."""
    frames = panel.tokenizer.to_frames(panel.piece)
    second = panel.tokenizer.sample_rate / panel.tokenizer.hop_length
    step = panel.tokenizer.frame_stride or panel.tokenizer.frames_per_token
    above, below = part.subplots(2, 1, sharex=True, height_ratios=[1.0, max(1.0, 0.24 * len(words))])
    above.imshow(
        frames.T.numpy(), origin="lower", aspect="auto", cmap=MAP, extent=(0, len(frames) / second, 0, len(frames[0]))
    )
    above.set_ylabel("mel band", fontsize=9)
    shown = below.imshow(
        panel.weights.numpy(), aspect="auto", cmap=MAP, vmin=0, interpolation="nearest",
        extent=(0, len(panel.piece) * step / second, len(words), 0),
    )  # fmt: skip
    below.set_yticks([i + 0.5 for i in range(len(words))], words, fontsize=9)
    below.set_xlabel("seconds", fontsize=9)
    _bar(part, shown, below)


def _picture(part: Any, panel: Panel, words: list[str]) -> None:
    """A picture: once as it is, and once for each token written, with the weights of its patches over it."""
    whole = panel.tokenizer.decode(panel.piece)
    pixels = whole.permute(1, 2, 0).expand(-1, -1, 3).numpy()
    shown, n_rows = words[:MOST_PICTURES], _picture_rows(len(words))
    axes = part.subplots(n_rows, -(-(len(shown) + 1) // n_rows), squeeze=False).flatten()
    for ax in axes:
        ax.set_axis_off()
    axes[0].imshow(pixels)
    axes[0].set_title("given", fontsize=9, color=GREY)
    height, width = pixels.shape[:2]
    most = float(panel.weights.max())
    for ax, row, word in zip(axes[1:], panel.weights, shown, strict=False):
        ax.imshow(pixels, alpha=0.5)
        heat = grid(panel.piece.positions, row).numpy()
        heated = ax.imshow(
            heat, cmap=MAP, vmin=0, vmax=most, alpha=(2 * heat / most).clip(0, 0.9), interpolation="nearest",
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )  # fmt: skip
        ax.set_title(word, fontsize=10)
    _bar(part, heated, list(axes))


def grid(positions: Tensor, weights: Tensor) -> Tensor:
    """Weights of patches as a picture, from their coordinates.

    Shapes:
        positions `[tokens, 2]`, weights `[tokens]` → `[rows, columns]`.

    Example:
        >>> grid(torch.tensor([[0.0, 0.0], [1.0, 0.5]]), torch.tensor([0.25, 0.75])).tolist()
        [[0.25, 0.0], [0.0, 0.75]]
    """
    rows, row = positions[:, 0].unique(return_inverse=True)
    columns, column = positions[:, 1].unique(return_inverse=True)
    return weights.new_zeros(len(rows), len(columns)).index_put((row, column), weights)


def _matrix(part: Any, ax: Any, weights: Tensor, words: list[str], labels: list[str]) -> None:
    """Weights with a label for each row and column."""
    shown = ax.imshow(weights.numpy(), cmap=MAP, vmin=0, aspect="auto", interpolation="nearest")
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(labels)), labels, rotation=90 if max(map(len, labels), default=0) > 2 else 0, fontsize=9)
    ax.set_yticks(range(len(words)), words, fontsize=9)
    ax.tick_params(length=0)
    # Thin white lines, so that one can follow a row to its word.
    ax.set_xticks([i + 0.5 for i in range(len(labels) - 1)], minor=True)
    ax.set_yticks([i + 0.5 for i in range(len(words) - 1)], minor=True)
    ax.grid(which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)
    _bar(part, shown, ax)


def _bar(part: Any, shown: Any, axes: Any) -> None:
    bar = part.colorbar(shown, ax=axes, fraction=0.03, pad=0.01, aspect=30)
    bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)


def _given_labels(panel: Panel) -> list[str]:
    """The tokens of a text by what they say, others by their number."""
    if panel.piece.values.ndim == 1 and panel.tokenizer.stop is not None:
        return _labels(panel.tokenizer, panel.piece.values.tolist())
    return [str(i) for i in range(len(panel.piece))]


def _labels(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Each id as text. Where a text has blanks inside its tokens, a dot marks those that go on a word."""
    said = [tokenizer.decode([each]) for each in ids]
    if not any(each[:1].isspace() and each.strip() for each in said):
        return [each if each.strip() else repr(each)[1:-1] for each in said]
    marked = [
        each if i == 0 or each[:1].isspace() or not each[:1].isalnum() else f"·{each}" for i, each in enumerate(said)
    ]
    return [each.strip() or repr(each)[1:-1] for each in marked]


def _picture_rows(n_words: int) -> int:
    return 1 if n_words < 6 else 2


_DRAWN = {"short": _short, "long": _long, "sound": _sound, "picture": _picture}
# How high a panel is, in inches, by the number of tokens written.
_HEIGHTS = {
    "short": lambda panel, n: 0.24 * max(n, 4) + 0.1 * max(map(len, _given_labels(panel)), default=0) + 0.2,
    "long": lambda panel, n: 3.0 + 0.26 * max(n, 4),
    "sound": lambda panel, n: 1.9 + 0.26 * max(n, 4),
    "picture": lambda panel, n: 1.9 * _picture_rows(n),
}


def _moved(node: Any, data_root: str) -> Any:
    """A configuration whose data lie elsewhere."""
    if isinstance(node, dict):
        return {key: data_root if key == "data_root" else _moved(value, data_root) for key, value in node.items()}
    return [_moved(each, data_root) for each in node] if isinstance(node, list) else node


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(["pictures need matplotlib: pip install matplotlib"]) from error


if __name__ == "__main__":
    main()
