"""What samples hold once they are opened: sizes of pictures, rates and lengths of sounds, lengths of texts; and which
cannot be opened.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from omniformer_tokenizers.media import read_audio, read_image

from omniformer.data.source import Raw
from omniformer.terminal.progress import counted

SPOKEN = "characters a second"  # of what is to be written of a sound
OPENED = 300  # samples that are decoded and tokenized: each may be a large file


@dataclass(slots=True)
class Contents:
    """What was seen of one modality.

    Args:
        looked: how many samples were opened.
        measures: by name, a number of each sample, such as its `height` or `seconds`.
        unreadable: what could not be opened, each with its sample and the cause.
    """

    looked: int = 0
    measures: dict[str, list[float]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def middle(self, name: str, otherwise: float) -> float:
        """The median of a measure."""
        return median(self.measures[name]) if self.measures.get(name) else otherwise

    def told(self) -> dict[str, Any]:
        """The same as plain values: least, median and largest of each measure; of rates how often each occurs."""
        found: dict[str, Any] = {"looked_at": self.looked}
        for name, values in self.measures.items():
            if name in ("rate", "colours"):
                found[name] = {f"{value:g}": n for value, n in sorted(Counter(values).items())}
            elif values:
                found[name] = [round(each, 3) for each in (min(values), median(values), max(values))]
        return found | ({"unreadable": self.unreadable} if self.unreadable else {})


def opened(raws: Sequence[Raw]) -> dict[str, Contents]:
    """What these samples hold, by modality, answers included."""
    found: dict[str, Contents] = {}
    for raw in counted(raws, "opening samples", len(raws)):
        numbers: dict[str, float] = {}
        for modality, content in [*raw.contents.items(), *raw.answer.items()]:
            seen = found.setdefault(modality, Contents())
            seen.looked += 1
            numbers |= _note(seen, raw, lambda: _MEASURES.get(modality, _nothing)(content))  # noqa: B023
        if "text" in raw.answer and numbers.get("seconds"):
            found["audio"].measures.setdefault(SPOKEN, []).append(numbers["characters"] / numbers["seconds"])
    return found


def tokenized(found: Mapping[str, Contents], raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer]) -> float:
    """Adds the lengths in tokens; returns how many a sample has on average, all modalities together."""
    total = 0.0
    for raw in counted(raws, "counting tokens", len(raws)):
        for modality, content in [*raw.contents.items(), *raw.answer.items()]:
            n = _note(found[modality], raw, lambda: {"tokens": len(tokenizers[modality](content))})  # noqa: B023
            total += n.get("tokens", 0)
    return total / max(len(raws), 1)


def _note(seen: Contents, raw: Raw, measure: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
    try:
        numbers = measure()
    except (ValueError, TypeError, OSError, EOFError) as error:
        told = f"{raw.id}: {' '.join(str(error).split())}"
        if not any(each.startswith(f"{raw.id}: ") for each in seen.unreadable):
            seen.unreadable.append(told)
        return {}
    for name, value in numbers.items():
        seen.measures.setdefault(name, []).append(value)
    return numbers


def _picture(content: Any) -> dict[str, float]:
    pixels = read_image(content) if isinstance(content, str | Path | bytes) else torch.as_tensor(content)
    height, width = pixels.shape[-2:]
    grey = (
        pixels.ndim == 2
        or pixels.shape[0] == 1
        or bool((pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all())
    )
    return {"height": height, "width": width, "colours": 1 if grey else 3}


def _sound(content: Any) -> dict[str, float]:
    samples, rate = read_audio(content) if isinstance(content, str | Path | bytes) else content
    return {"rate": rate, "seconds": samples.shape[-1] / rate}


def _text(content: Any) -> dict[str, float]:
    return {"characters": len(content) if isinstance(content, str) else sum(map(len, content))}


def _series(content: Any) -> dict[str, float]:
    return {"variables": content.shape[0], "steps": content.shape[1]}


def _graph(content: Any) -> dict[str, float]:
    if isinstance(content, str):
        return {"characters": len(content)}
    if not isinstance(content, Mapping):
        return {"nodes": 0}  # the file of one
    described = {"edge_features": 1} if content.get("edge_features") else {}
    return {"nodes": content.get("n_nodes", 0), **described}


def _nothing(content: Any) -> dict[str, float]:
    return {}


_MEASURES: dict[str, Callable[[Any], dict[str, float]]] = {
    "vision": _picture,
    "audio": _sound,
    "text": _text,
    "series": _series,
    "graph": _graph,
}
