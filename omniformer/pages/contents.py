"""Raw samples as a page shows them: pictures, sounds with their spectrogram and a player, texts, graphs."""

import base64
import html
import io
import json
import wave
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omniformer_tokenizers.graph.input import Graph, read_graph
from omniformer_tokenizers.graph.smiles import read_smiles
from omniformer_tokenizers.media import read_audio, read_image
from PIL import Image
from torch import Tensor

SIDE = 200  # pixels of a thumbnail
_LETTERS = 600
_SECONDS = 8.0  # of a sound that can be heard
_FFT, _COLUMNS = 256, 200  # of a spectrogram: samples in a frame, frames at most or a little more
_RANGE = 70.0  # decibels from the faintest that is seen to the loudest
_FAINT, _STRONG = np.array([238.0, 242.0, 246.0]), np.array([22.0, 58.0, 95.0])  # colours
_NODES = 300  # of a graph that is drawn
_UNREADABLE = (ValueError, OSError, EOFError, TypeError, ImportError)


def shown(contents: Mapping[str, Any]) -> str:
    """All that a sample holds, as HTML; what cannot be read says why.

    Args:
        contents: by modality, as a `Raw` has them.
    """
    return "".join(shown_as(modality, content) for modality, content in contents.items())


def shown_as(modality: str, content: Any) -> str:
    """One content: as its modality is shown where that is known, else as what it looks like."""
    try:
        return _shower(modality, content)(content)
    except _UNREADABLE as error:
        return f"<em>{html.escape(f'{modality}: {error}')}</em>"


def _shower(modality: str, content: Any) -> Callable[[Any], str]:
    known: dict[str, Callable[[Any], str]] = {
        "vision": picture,
        "pixels": picture,
        "audio": sound,
        "samples": sound,
        "graph": graph,
    }
    if modality in known:
        return known[modality]
    if hasattr(content, "edge_index"):
        return graph
    if isinstance(content, tuple) and len(content) == 2 and isinstance(content[0], Tensor):
        return sound
    return text


def picture(content: Any) -> str:
    """A picture as a thumbnail inside the page."""
    pixels = content if isinstance(content, Tensor) else read_image(content)
    pixels = pixels.reshape(-1, *pixels.shape[-2:])[:3]
    if pixels.is_floating_point():
        pixels = (pixels.clamp(0, 1) * 255).round()
    if len(pixels) < 3:
        pixels = pixels[:1].expand(3, -1, -1)
    return image(Image.fromarray(pixels.permute(1, 2, 0).byte().numpy()))


def image(made: Image.Image) -> str:
    """A Pillow image inside the page; small ones are enlarged by whole pixels."""
    made.thumbnail((SIDE, SIDE))
    scale = max(1, SIDE // max(made.size))
    return f'<img alt="" width="{made.width * scale}" src="{embedded(_png(made), "image/png")}">'


def sound(content: Any) -> str:
    """A sound: its spectrogram, and a player of its first seconds."""
    samples, rate = content if isinstance(content, tuple) else read_audio(content)
    signal = samples.reshape(-1, samples.shape[-1]).float().mean(0)
    seconds = len(signal) / rate
    heard = signal[: int(_SECONDS * rate)]
    told = f"{seconds:.2f} s, {rate} Hz" + (f"; the first {_SECONDS:.0f} s" if seconds > _SECONDS else "")
    return (
        f'{image(spectrogram(heard))}<audio controls preload="none" src="{embedded(_wav(heard, rate), "audio/wav")}">'
        f"</audio><p class=more>{told}</p>"
    )


def spectrogram(signal: Tensor) -> Image.Image:
    """The logarithm of a signal's short-time spectrum, low frequencies at the bottom, a pixel a frame.

    Shapes:
        signal `[samples]`.
    """
    padded = torch.nn.functional.pad(signal, (0, max(0, _FFT - len(signal))))
    hop = max(1, (len(padded) - _FFT) // _COLUMNS)
    frames = padded.unfold(0, _FFT, hop) * torch.hann_window(_FFT)
    decibels = 20 * torch.fft.rfft(frames).abs().clamp(min=1e-5).log10()
    scaled = ((decibels - decibels.max() + _RANGE) / _RANGE).clamp(0, 1).T.flip(0).numpy()
    colours = _FAINT + scaled[..., None] * (_STRONG - _FAINT)
    return Image.fromarray(colours.astype(np.uint8)).resize((SIDE, SIDE // 2), Image.Resampling.BILINEAR)


def graph(content: Any, weights: Sequence[float] | None = None) -> str:
    """A graph, its nodes placed by springs; those of more than 300 nodes are only counted.

    Args:
        content: as the tokenizers of graphs take it, or a molecule in SMILES.
        weights: of each node, from 0 to 1: how strongly it is marked; all alike by default.
    """
    read = _graph(content)
    n, pairs = read.n_nodes, {(min(pair), max(pair)) for pair in read.edges.T.tolist()}
    told = f"<p class=more>{n} nodes, {len(pairs)} edges</p>"
    name = f"<pre>{html.escape(content)}</pre>" if isinstance(content, str) else ""
    if not 0 < n <= _NODES:
        return told + name
    placed = places(n, pairs)
    lines = "".join(
        f'<line x1="{placed[a][0]:.1f}" y1="{placed[a][1]:.1f}" x2="{placed[b][0]:.1f}" y2="{placed[b][1]:.1f}"/>'
        for a, b in sorted(pairs)
    )
    radius = max(2.5, 9 - n / 8)
    shares = [1.0] * n if weights is None else list(weights)[:n]
    nodes = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="var(--paper)"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill-opacity="{share:.2f}"/>'
        for (x, y), share in zip(placed, shares, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}"><g stroke="currentColor" stroke-opacity=".45">{lines}</g>'
        f'<g fill="var(--accent)" stroke="var(--accent)">{nodes}</g></svg>{told}{name}'
    )


def _graph(content: Any) -> Graph:
    is_smiles = isinstance(content, str) and Path(content).suffix != ".json"
    return read_graph(read_smiles(content) if is_smiles else content)


def places(n: int, pairs: set[tuple[int, int]]) -> list[tuple[float, float]]:
    """Where the nodes of a graph stand, in pixels of a square of 200: the same in every page.

    Args:
        n: how many there are.
        pairs: which of them are joined.
    """
    import networkx as nx

    drawn: Any = nx.Graph()
    drawn.add_nodes_from(range(n))
    drawn.add_edges_from(pairs)
    found = np.array([place for _, place in sorted(nx.spring_layout(drawn, seed=0).items())]).reshape(n, 2)
    low, high = found.min(0), found.max(0)
    scaled = (found - (low + high) / 2) / max(float((high - low).max()), 1e-6)
    return [(SIDE / 2 + x * (SIDE - 28), SIDE / 2 + y * (SIDE - 28)) for x, y in scaled.tolist()]


def text(content: Any) -> str:
    """A text, or anything else as JSON, cut where it is long."""
    if not isinstance(content, str):
        content = json.dumps(content, default=lambda each: each.tolist() if hasattr(each, "tolist") else str(each))
    more = f"<p class=more>{len(content) - _LETTERS:,} more characters</p>" if len(content) > _LETTERS else ""
    return f"<pre>{html.escape(content[:_LETTERS])}</pre>{more}"


def embedded(content: bytes, kind: str) -> str:
    """A file as an address that holds it.

    Example:
        >>> embedded(b"hi", "text/plain")
        'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _png(made: Image.Image) -> bytes:
    stream = io.BytesIO()
    made.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _wav(signal: Tensor, rate: int) -> bytes:
    """A sound as a file of 16 bits a sample, which every browser plays."""
    stream = io.BytesIO()
    loud = signal / signal.abs().max().clamp(min=1.0) if len(signal) else signal
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((loud * 32767).to(torch.int16).numpy().tobytes())
    return stream.getvalue()
