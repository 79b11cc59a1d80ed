"""What several test files need: every tokenizer with one sample, and small media files."""

import importlib
import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
import omniformer_tokenizers as ot
import pytest
import torch
from hypothesis import settings

# pytest names these files after their path, tokenizers.tests..., and makes an empty package of the first part, which
# would hide the library of that name.
if getattr(sys.modules.get("tokenizers"), "__file__", None) is None:
    sys.modules.pop("tokenizers", None)
    importlib.import_module("tokenizers")

TEXTS = ["the cat and the dog and the bird", "def f(x):\n    return x\n", "Übergröße, naïve café 😀"]

# How long a drawn case takes depends on who else is at work.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def picture(height: int = 13, width: int = 22, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


def tone(n: int = 3000) -> torch.Tensor:
    return 0.5 * torch.sin(torch.arange(n) * 0.3) * torch.linspace(0.1, 1, n)


def clip() -> torch.Tensor:
    return torch.stack([picture(9, 10 + 0 * i) for i in range(5)])


def attributed_graph() -> dict[str, Any]:
    return {
        "n_nodes": 4,
        "edges": [[0, 1], [1, 2], [2, 2]],
        "node_features": [[0, 0.5], [1, 1.5], [2, -1.0], [0, 0.0]],
        "edge_features": [[1], [0], [1]],
    }


@dataclass
class Case:
    """One tokenizer, how to make it, samples for it, an empty one, and how near decode comes (None: no inverse)."""

    make: Callable[[], ot.Tokenizer]
    raws: list[Any]
    empty: Any
    wrong: Any = field(default_factory=object)
    tolerance: float | None = 0.0


def _text(make: Callable[[], ot.Tokenizer]) -> Case:
    return Case(make=lambda: make().fit(TEXTS), raws=TEXTS, empty="", wrong=3)


def _words(lowercase: bool, make: type[ot.WordTokenizer] = ot.WordTokenizer) -> Case:
    raws = ["the cat and the dog", "def f ( x ) : return x"]
    return Case(make=lambda: make(lowercase=lowercase).fit(raws), raws=raws, empty="", wrong=b"x")


def _image(make: Callable[[], ot.Tokenizer], tolerance: float | None = 0.0, **sizes: int) -> Case:
    channels = sizes.get("channels", 3)
    raws = [picture(channels=channels), picture(5, 4, channels=channels), picture(1, 1, channels=channels)]
    empty = torch.zeros(channels, 0, 0, dtype=torch.uint8)
    return Case(make=make, raws=raws, empty=empty, wrong=[1, 2], tolerance=tolerance)


def _sound(make: Callable[[], ot.Tokenizer], tolerance: float | None) -> Case:
    return Case(
        make=make, raws=[tone(), tone(1700), tone(1)], empty=torch.zeros(0), wrong={"a": 1}, tolerance=tolerance
    )


def _graph(make: Callable[[], ot.Tokenizer], tolerance: float | None = 0.0) -> Case:
    raws = [nx.path_graph(5), {"n_nodes": 2, "edges": []}, nx.star_graph(6)]
    return Case(make=make, raws=raws, empty={"n_nodes": 0, "edges": []}, wrong=[0, 1], tolerance=tolerance)


def _series() -> list[torch.Tensor]:
    gap = torch.randn(3, 37, generator=torch.Generator().manual_seed(0)) * 100 + 1000
    gap[1, 5:9] = torch.nan
    return [gap, torch.ones(1, 16)]


def _subwords() -> ot.SubwordTokenizer:
    from tokenizers.pre_tokenizers import Whitespace

    from tokenizers import Tokenizer, models

    model = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "cat": 2, "##s": 3, "and": 4}, unk_token="[UNK]"))
    model.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    model.add_special_tokens(["[STOP]"])
    return ot.SubwordTokenizer.from_model(model, start=0, stop="[STOP]", segments=True)


def _pieces() -> ot.SentencePieceTokenizer:
    import tempfile
    from pathlib import Path

    from vocabularies import t5_pieces

    with tempfile.TemporaryDirectory() as folder:
        return ot.SentencePieceTokenizer.from_file(t5_pieces(Path(folder)), start="<pad>", stop="</s>", extra=3)


def _canonical() -> ot.CanonicalTokenizer:
    import tempfile
    from pathlib import Path

    from vocabularies import t5_pieces

    with tempfile.TemporaryDirectory() as folder:
        return ot.CanonicalTokenizer.from_file(t5_pieces(Path(folder)), stop="</s>")


CASES: dict[str, Case] = {
    "bpe": _text(lambda: ot.BPETokenizer(vocab_size=320)),
    "code": _text(lambda: ot.CodeTokenizer(vocab_size=320)),
    "bytes": _text(ot.ByteTokenizer),
    "subwords": Case(make=_subwords, raws=[*TEXTS, ("the cats", "and")], empty="", wrong=3, tolerance=None),
    "pieces": Case(make=_pieces, raws=TEXTS, empty="", wrong=3, tolerance=None),
    "canonical pieces": Case(make=_canonical, raws=TEXTS, empty="", wrong=3, tolerance=None),
    "padded pieces": Case(
        make=lambda: ot.PaddedTokenizer(tokenizer=_pieces(), length=9, side="left"),
        raws=TEXTS,
        empty="",
        wrong=3,
        tolerance=None,
    ),
    "characters": _text(ot.CharacterTokenizer),
    "words": _words(lowercase=False),
    "words lowercase": _words(lowercase=True),
    "words spelled": _words(lowercase=True, make=ot.SpelledWordTokenizer),
    "patches": _image(lambda: ot.PatchTokenizer(patch_size=4)),
    "patches overlapping": _image(lambda: ot.PatchTokenizer(patch_size=5, stride=3)),
    "patches unit": _image(lambda: ot.PatchTokenizer(patch_size=4, stride=3, coordinates="unit")),
    "patches own colours": _image(lambda: ot.PatchTokenizer(patch_size=4, mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1))),
    "patches grey": _image(lambda: ot.PatchTokenizer(patch_size=4, channels=1), channels=1),
    "patches cropped": _image(lambda: ot.PatchTokenizer(patch_size=4, remainder="crop"), tolerance=None),
    "patches resized": _image(lambda: ot.PatchTokenizer(patch_size=4, image_size=(8, 8)), tolerance=None),
    "patches resampled": _image(
        lambda: ot.PatchTokenizer(patch_size=4, resize=ot.Resampling(filter="bicubic", shortest_edge=9, crop=(8, 12))),
        tolerance=None,
    ),
    "blocks of patches": _image(
        lambda: ot.PatchBlockTokenizer(patch_size=2, resize=ot.Resampling(area=(64, 256), multiple=4)), tolerance=None
    ),
    "tiles": _image(lambda: ot.TileTokenizer(patch_size=2, block=2, tile=9, longest_edge=21), tolerance=None),
    "patches after class tokens": _image(lambda: ot.ClassTokens(tokenizer=ot.PatchTokenizer(patch_size=4), n=2)),
    "colours": _image(lambda: ot.ColourTokenizer(n_colours=16).fit([picture(), picture(8, 8)]), tolerance=None),
    "pixels": _image(ot.PixelTokenizer),
    "codebooks of patches": _image(
        lambda: ot.ResidualCodebooks(
            tokenizer=ot.PatchTokenizer(patch_size=4), n_stages=2, n_entries=8, iterations=3
        ).fit([picture(), picture(8, 8)]),
        tolerance=None,
    ),
    "codebooks of frames": _sound(
        lambda: ot.ResidualCodebooks(
            tokenizer=ot.WaveformTokenizer(frame_length=16), n_stages=3, n_entries=8, iterations=3
        ).fit([tone()]),
        None,
    ),
    "levels of patches": _image(
        lambda: ot.FiniteScalarTokenizer(tokenizer=ot.PatchTokenizer(patch_size=4), levels=(4, 3)).fit([picture()]),
        tolerance=None,
    ),
    "tubelets": Case(
        make=lambda: ot.TubeletTokenizer(patch_size=4),
        raws=[clip(), clip()[:1]],
        empty=torch.zeros(0, 3, 8, 8, dtype=torch.uint8),
        wrong=[1],
    ),
    "spectrogram": _sound(lambda: ot.SpectrogramTokenizer(n_mels=16, frames_per_token=2), None),
    "spectrogram patches": _sound(
        lambda: ot.SpectrogramTokenizer(
            n_mels=32, frames_per_token=4, frame_stride=2, bands_per_token=16, band_stride=8, normalize="none"
        ),
        None,
    ),
    "whisper": _sound(ot.WhisperTokenizer, None),
    "kaldi": _sound(ot.KaldiTokenizer, None),
    "kaldi of one length": _sound(lambda: ot.KaldiTokenizer(n_frames=20, frames_per_token=8, bands_per_token=16), None),
    "frames after a class token": _sound(
        lambda: ot.ClassTokens(tokenizer=ot.MultiScaleTokenizer(scales=(1, 4), normalize="none")), None
    ),
    "scales": _sound(lambda: ot.MultiScaleTokenizer(scales=(1, 4)), None),
    "waveform": _sound(lambda: ot.WaveformTokenizer(frame_length=400, stride=160), 1e-7),
    "windows": Case(
        make=lambda: ot.Wav2Vec2Tokenizer(window=40, stride=32, normalize=False),
        raws=[tone(), tone(1700), tone(40)],
        empty=torch.zeros(0),
        wrong={"a": 1},
        tolerance=1e-7,
    ),
    "mu-law": _sound(ot.MuLawTokenizer, 1 / 64),
    "graph": _graph(lambda: ot.GraphTokenizer(laplacian=3, random_walk=4, shortest_path=5)),
    "graph directed": _graph(lambda: ot.GraphTokenizer(directed=True)),
    "graph virtual node": _graph(lambda: ot.GraphTokenizer(shortest_path=2, virtual_node=True), tolerance=None),
    "graph edge tokens": _graph(lambda: ot.GraphTokenizer(laplacian=3, edge_tokens=True), tolerance=None),
    "graph mixed": Case(
        make=lambda: ot.GraphTokenizer(node_vocab_sizes=(3,), node_features=1, edge_vocab_sizes=(2,)),
        raws=[attributed_graph()],
        empty={"n_nodes": 0, "edges": [], "node_features": [], "edge_features": []},
        wrong=3,
    ),
    "scaled bins": Case(
        make=lambda: ot.ScaledBinsTokenizer(context=40),
        raws=[torch.linspace(-1, 1, 37), torch.ones(1), torch.zeros(3)],
        empty=torch.zeros(0),
        wrong=[1.0],
        tolerance=4e-3,  # half a bin
    ),
    "series": Case(
        make=lambda: ot.SeriesTokenizer(patch_length=8),
        raws=_series(),
        empty=torch.zeros(0, 0),
        wrong=[1.0],
        tolerance=1e-5,
    ),
}


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def tokenizer(case: Case) -> ot.Tokenizer:
    return case.make()


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    return CASES


def _image_bytes(format: str, height: int = 12, width: int = 10, mode: str = "RGB", **options: Any) -> bytes:
    from PIL import Image

    pixels = picture(height, width).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).convert(mode).save(buffer, format=format, **options)
    return buffer.getvalue()


def _audio_bytes(format: str, rate: int = 8000, channels: int = 1, seconds: float = 0.5) -> bytes:
    import soundfile

    wave = tone(int(rate * seconds)).numpy()
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([wave] * channels, axis=1), rate, format=format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def pyg() -> Any:
    """PyTorch Geometric, whose import warns of functions that torch will drop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("torch_geometric")


@pytest.fixture(scope="session")
def image_bytes() -> Callable[..., bytes]:
    return _image_bytes


@pytest.fixture(scope="session")
def audio_bytes() -> Callable[..., bytes]:
    return _audio_bytes
