"""What a model looked at in a sample, as sections of a page and as one picture."""

import math
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from omniformer.attention.views import WIDTH, Panel, grid, is_text, names, view_of
from omniformer.inspection.looks import MOST_HEADS, Look
from omniformer.pages.blocks import Block, Marked, Picture, Section, Words
from omniformer.pages.drawing import drawn, painted, shades

_TILE = 48  # pixels of the map of a head
_NUMBERED = 16  # heads whose numbers can be read
_INCH = 0.62  # of the square of a head


def section(look: Look, by: Look | None = None) -> Section:
    """All that is shown of one sample.

    Args:
        look: what was looked at.
        by: the same by one layer or head, where the weights of that one are to be drawn.
    """
    blocks: list[Block] = [Words(each) for each in told(look)]
    blocks += looked(by or look)
    if look.flow is not None:
        said = "Between modalities: the share of its weight that each (row) gives to each other one, layer by layer."
        blocks.append(Picture(drawn(partial(_flow, look), WIDTH, _flow_height(look)), said))
    blocks.append(Picture(_tiles(look), _tiles_caption(look)))
    blocks.append(Picture(drawn(partial(_heads, look), *_heads_size(look)), _heads_caption(look)))
    return Section(look.id, blocks)


def looked(look: Look) -> list[Block]:
    """The weights on each piece of a sample: texts as marked words too, by the first row.

    Args:
        look: what was looked at.
    """
    blocks: list[Block] = []
    for panel in panels(look):
        if is_text(panel):
            blocks.append(Marked(names(panel), panel.weights[0].tolist(), f"marked by: {panel.labels[0]}"))
        caption = f"{panel.piece.modality}, {len(panel.piece)} tokens: how much each counts"
        blocks.append(Picture(drawn(partial(_draw, panel), WIDTH, view_of(panel).height(panel)), caption))
    return blocks


def panels(look: Look) -> list[Panel]:
    """The pieces of a sample that have tokens, each with its weights."""
    return [
        Panel(piece=piece, tokenizer=tokenizer, weights=weights, labels=look.labels).bare()
        for piece, tokenizer, weights in zip(look.pieces, look.tokenizers, look.parts, strict=True)
        if len(piece)
    ]


def told(look: Look) -> list[str]:
    """What the model says of a sample, what was expected, and which heads do nothing."""
    heads = sum(len(each) for each in look.maps)
    idle = ", ".join(f"{layer + 1}.{head + 1}" for layer, head in look.idle[:24])
    more = f", and {len(look.idle) - 24} more" if len(look.idle) > 24 else ""
    found = [f"{look.head or 'The model'} says: {look.said}"] if look.said else []
    found += [f"expected: {look.expected}"] if look.expected else []
    if look.effects is None:
        why = (
            "none of the layers can go without one" if heads <= MOST_HEADS else f"only up to {MOST_HEADS} are left out"
        )
        return [*found, f"What each of the {heads} heads does was not measured: {why}."]
    if not look.idle:
        return [*found, f"Each of the {heads} heads does something."]
    said = f"{len(look.idle)} of {heads} heads do next to nothing here, layer.head {idle}{more}"
    return [*found, f"{said}: without one of them alone the output changes by less than 1 %."]


def picture(looks: Sequence[Look]) -> bytes:
    """Samples below each other, as a PNG file.

    Args:
        looks: what was looked at in each.
    """
    parts = [part for look in looks for part in [look, *panels(look)]]
    heights = [view_of(part).height(part) if isinstance(part, Panel) else _title_height(part) for part in parts]

    def draw(figure: Any) -> None:
        for place, part in zip(_below(figure, heights), parts, strict=True):
            if isinstance(part, Panel):
                view_of(part).draw(place, part)
            else:
                _title(place, part)

    return painted(draw, WIDTH, sum(heights))


def _below(figure: Any, heights: Sequence[float]) -> list[Any]:
    if len(heights) == 1:
        return [figure]
    return list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])


def _title_lines(look: Look) -> tuple[list[str], list[str]]:
    said = textwrap.wrap(f"{look.id}: {look.said}" if look.said else look.id, 84)
    return said, textwrap.wrap(f"expected: {look.expected}", 100) if look.expected else []


def _title_height(look: Look) -> float:
    return 0.22 * sum(map(len, _title_lines(look))) + 0.12


def _title(place: Any, look: Look) -> None:
    said, expected = _title_lines(look)
    place.text(0.01, 0.92, "\n".join(said), va="top", fontsize=11)
    place.text(0.01, 0.92 - 0.22 * len(said) / _title_height(look), "\n".join(expected), va="top", fontsize=9)


def _draw(panel: Panel, figure: Any) -> None:
    view_of(panel).draw(figure, panel)


def _tiles(look: Look) -> str:
    """The map of each head of each layer: on the patches of a picture that stands alone what each gets, else which
    token looks at which.
    """
    most = max(len(weights) for weights in look.maps)
    maps = [[_tile(look, weights) for weights in layer] for layer in look.maps]
    blank = torch.full((_TILE, _TILE), math.nan)
    rows = [torch.cat([F.pad(tile, (2, 2, 2, 2)) for tile in [*row, *[blank] * (most - len(row))]], 1) for row in maps]
    size = min(_INCH * 1.3, WIDTH / (most + 1))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.imshow(torch.cat(rows).numpy(), cmap=shades(), vmin=0, vmax=1, interpolation="nearest")
        _numbered(axes, len(maps), most, _TILE + 4)

    return drawn(draw, size * most + 0.9, size * len(maps) + 0.5)


def _tile(look: Look, weights: Tensor) -> Tensor:
    """A map of fixed size, by its own largest weight."""
    if _on_patches(look):
        n = len(look.pieces[0])
        shown = grid(look.pieces[0].positions, weights.float().mean(0)[-n:])
    else:
        shown = weights.float()
    mode = "nearest" if max(shown.shape) <= _TILE else "area"
    shown = F.interpolate(shown[None, None], size=(_TILE, _TILE), mode=mode)[0, 0]
    return shown / shown.max().clamp(min=1e-12)


def _on_patches(look: Look) -> bool:
    return len(look.pieces) == 1 and look.pieces[0].positions.shape[1] == 2


def _tiles_caption(look: Look) -> str:
    what = "the weight that each patch gets" if _on_patches(look) else "which token (row) looks at which (column)"
    return f"Every layer and head: {what}, each map by its own largest weight."


def _numbered(axes: Any, layers: int, heads: int, step: float) -> None:
    """Names rows as layers and columns as heads."""
    axes.set_xticks([(i + 0.5) * step - 0.5 for i in range(heads)], [str(i + 1) for i in range(heads)])
    axes.set_yticks([(i + 0.5) * step - 0.5 for i in range(layers)], [str(i + 1) for i in range(layers)])
    axes.set(xlabel="head", ylabel="layer")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _heads_size(look: Look) -> tuple[float, float]:
    layers, heads = look.entropy.shape
    sides = 1 if look.effects is None else 2
    return min(WIDTH, sides * (_INCH * heads + 1.2)), min(_INCH, 8.0 / layers) * layers + 0.9


def _heads(look: Look, figure: Any) -> None:
    """How widely each head looks, and how much it does."""
    shown = [("entropy, nats", look.entropy, 2)]
    shown += [] if look.effects is None else [("what it does, %", 100 * look.effects, 1)]
    for axes, (title, numbers, digits) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        # Three quarters of the colour at most, on which what is written is read, in light and in dark.
        most = float(numbers.nan_to_num().max()) or 1.0
        axes.imshow(numbers.numpy(), cmap=shades(), vmin=0, vmax=4 / 3 * most, aspect="equal")
        axes.set_title(title)
        _numbered(axes, len(numbers), numbers.shape[1], 1.0)
        if numbers.shape[1] <= _NUMBERED:
            for layer, row in enumerate(numbers.tolist()):
                for head, number in enumerate(row):
                    if not math.isnan(number):
                        axes.text(head, layer, f"{number:.{digits}f}", ha="center", va="center", fontsize=8)


def _heads_caption(look: Look) -> str:
    narrow = "Entropy: 0 is a look at one token, the logarithm of their number an even look at all."
    if look.effects is None:
        return narrow
    return f"{narrow} What a head does: by how much of its length the output changes without it."


def _flow_height(look: Look) -> float:
    return 1.7 * math.ceil(len(look.maps) / 4) + 0.3


def _flow(look: Look, figure: Any) -> None:
    flow: Any = look.flow
    kinds = [piece.modality for piece in look.pieces]
    axes = figure.subplots(math.ceil(len(flow) / 4), min(4, len(flow)), squeeze=False).flatten()
    for ax in axes[len(flow) :]:
        ax.set_axis_off()
    for number, (ax, shares) in enumerate(zip(axes, flow, strict=False), 1):
        ax.imshow(shares.numpy(), cmap=shades(), vmin=0, vmax=4 / 3)  # as above
        ax.set_title(f"layer {number}", fontsize=9)
        ax.set_xticks(range(len(kinds)), kinds, fontsize=8)
        ax.set_yticks(range(len(kinds)), kinds, fontsize=8)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        for i, row in enumerate(shares.tolist()):
            for j, share in enumerate(row):
                ax.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=8)
