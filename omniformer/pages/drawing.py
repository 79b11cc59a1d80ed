"""Drawings by matplotlib: as SVG that stands inside a page and takes its colours, in light and in dark, or as PNG."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from omniformer.config import ConfigError

ACCENT = "#2f7fb5"
SECOND = "#d9822b"
COLOURS = (ACCENT, SECOND, "#4c9f70", "#b4577a", "#8a6fc0", "#8c8c42", "#5aa7a7", "#a36a4f")
_INK = "#010203"  # stands for the colour of the page's text
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "omniformer",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.grid": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}


def need_matplotlib() -> None:
    """Makes sure that something can be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        message = "pictures need matplotlib, which is not installed; pip install matplotlib"
        raise ConfigError([message]) from error


def drawn(draw: Callable[[Any], None], width: float, height: float) -> str:
    """An SVG element.

    Text in it is text, formulas are not read; whatever is drawn in the usual colour takes that of the page.

    Args:
        draw: draws on a figure of matplotlib.
        width: inches.
        height: inches.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    stream = io.StringIO()
    _save(draw, width, height, stream, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    return text[text.index("<svg") :].replace(_INK, "currentColor")


def painted(draw: Callable[[Any], None], width: float, height: float, *, dpi: int = 110) -> bytes:
    """The same as a PNG file, on white, of at most 256 colours, which keeps it small.

    Args:
        draw: draws on a figure of matplotlib.
        width: inches.
        height: inches.
        dpi: pixels an inch.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    from PIL import Image

    raw, small = io.BytesIO(), io.BytesIO()
    _save(draw, width, height, raw, format="png", facecolor="white", dpi=dpi)
    Image.open(raw).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def _save(draw: Callable[[Any], None], width: float, height: float, stream: Any, **options: Any) -> None:
    need_matplotlib()
    from matplotlib import rc_context  # pyright: ignore[reportMissingImports]
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*(Glyph|[Ll]ayout|constrained_layout|tight_layout)")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(stream, **options)


def shades(colour: str = ACCENT) -> Any:
    """A colour map from nothing to a colour, which suits any paper.

    Args:
        colour: as `#rrggbb`.
    """
    from matplotlib.colors import LinearSegmentedColormap, to_rgb  # pyright: ignore[reportMissingImports]

    full = to_rgb(colour)
    return LinearSegmentedColormap.from_list("shades", [(*full, 0.0), (*full, 1.0)])
