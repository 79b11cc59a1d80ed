"""A few samples as a page that a browser shows, with everything in it."""

import base64
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omniformer_tokenizers.media import read_audio, read_image
from PIL import Image

from omniformer.data.source import Raw
from omniformer.training.checkpoint_io import write_durably

_SIDE = 160  # pixels of a thumbnail
_LETTERS = 600
_BARS = 160  # of a sound
_STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:70em}td{border-top:1px solid #ccc;padding:.5em;vertical-align:top}"
    "img{image-rendering:pixelated}pre{white-space:pre-wrap;margin:0;font:inherit}"
)


def page(path: Path, title: str, raws: Sequence[Raw], labels: Sequence[str]) -> None:
    """Writes the page.

    Args:
        path: the file.
        title: above it.
        raws: the samples.
        labels: the names of the classes.
    """
    rows = "".join(f"<tr><td>{html.escape(raw.id)}<td>{_contents(raw)}<td>{_targets(raw, labels)}\n" for raw in raws)
    head = f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    write_durably(path, f"{head}\n<h1>{html.escape(title)}</h1>\n<table>\n{rows}</table>\n")


def _contents(raw: Raw) -> str:
    found = []
    for modality, content in raw.contents.items():
        try:
            found.append(_SHOWN.get(modality, _text)(content))
        except (ValueError, OSError, EOFError) as error:
            found.append(f"<em>{html.escape(str(error))}</em>")
    return "<br>".join(found)


def _targets(raw: Raw, labels: Sequence[str]) -> str:
    told: list[str] = [str(each) for each in raw.answer.values()]
    for name, value in raw.targets.items():
        if name == "label" and labels:
            told.append(labels[int(value)])
        elif name == "labels":
            told += [
                f"{label}: {'?' if each != each else 'yes' if each else 'no'}"
                for label, each in zip(labels, value.tolist(), strict=True)
            ]
        else:
            told.append(f"{name} {value.tolist()}")
    for marks in raw.marks.values():
        told += [labels[label] for _, _, label in marks.words or () if label >= 0]
        told += [f"characters {marks.span[0]} to {marks.span[1]}"] if marks.span else []
    return html.escape("; ".join(told)[:_LETTERS])


def _picture(content: Any) -> str:
    pixels = read_image(content) if isinstance(content, str | Path | bytes) else content
    pixels = pixels.reshape(-1, *pixels.shape[-2:])[:3]
    picture = Image.fromarray((pixels.expand(3, -1, -1) if len(pixels) < 3 else pixels).permute(1, 2, 0).byte().numpy())
    picture.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    scale = max(1, _SIDE // max(picture.size))
    code = base64.b64encode(stream.getvalue()).decode()
    return f'<img width="{picture.width * scale}" src="data:image/png;base64,{code}">'


def _sound(content: Any) -> str:
    samples, rate = read_audio(content) if isinstance(content, str | Path | bytes) else content
    wave = samples.reshape(-1, samples.shape[-1]).mean(0)
    parts = [part.abs().max().item() for part in wave.tensor_split(_BARS) if len(part)]
    top = max(max(parts, default=0.0), 1e-6)
    bars = "".join(
        f"<rect x='{i}' y='{20 - 20 * h / top:.1f}' width='1' height='{40 * h / top:.1f}'/>"
        for i, h in enumerate(parts)
    )
    drawn = f"<svg width='{2 * _BARS}' height='80' viewBox='0 0 {_BARS} 40'>{bars}</svg>"
    return f"{drawn}<br>{len(wave) / rate:.2f} s, {rate} Hz"


def _text(content: Any) -> str:
    if not isinstance(content, str):
        content = json.dumps(content, default=lambda each: each.tolist() if hasattr(each, "tolist") else str(each))
    return f"<pre>{html.escape(content[:_LETTERS])}{'…' if len(content) > _LETTERS else ''}</pre>"


_SHOWN: dict[str, Callable[[Any], str]] = {"vision": _picture, "audio": _sound}
