"""Times the tokenizers against the libraries people would use instead, and prints the ratios.

    python scripts/benchmark_tokenizers.py [--rounds 7] [--json results.json] [--only bpe]

The contenders take turns, round after round, so that a busy machine hurts all alike; the ratio is the median over
rounds of (peer's seconds / our seconds) in the same round: above 1, ours is faster. Peers that are not installed are
left out. Set OMP_NUM_THREADS and RAYON_NUM_THREADS to compare with one thread.
"""

import argparse
import inspect
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omniformer_tokenizers import (
    BPETokenizer,
    GraphTokenizer,
    PatchTokenizer,
    WhisperTokenizer,
    pack_lengths,
)
from omniformer_tokenizers.audio.mel import mel_frames
from omniformer_tokenizers.graph import encodings

Contenders = dict[str, Callable[[], Any]]


def standard_library() -> list[str]:
    """The sources of the standard library: a corpus that every machine has."""
    folder = Path(inspect.getfile(os)).parent
    texts = []
    for path in sorted(folder.glob("*.py")):
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            print(f"left out, not UTF-8: {path.name}", file=sys.stderr)
    return texts


def bpe() -> tuple[str, Contenders]:
    """Encoding a corpus to ids: the first time, and with the words known."""
    texts = standard_library()
    tokenizer = BPETokenizer(vocab_size=8192).fit(texts)
    library = tokenizer._model
    saved = library.to_str()

    def first_time() -> list[np.ndarray]:
        fresh = BPETokenizer.from_model(type(library).from_str(saved))
        return fresh.encode_ids(texts, np.uint16)

    def as_arrays(lists: list[list[int]]) -> list[np.ndarray]:
        return [np.array(ids, np.uint16) for ids in lists]

    contenders: Contenders = {
        "ours": first_time,
        "ours, words known": lambda: tokenizer.encode_ids(texts, np.uint16),
        "tokenizers, encode_batch_fast": lambda: as_arrays([e.ids for e in library.encode_batch_fast(texts)]),
        "tokenizers, encode_batch": lambda: as_arrays([e.ids for e in library.encode_batch(texts)]),
        "tokenizers, encode one by one": lambda: as_arrays([library.encode(text).ids for text in texts]),
    }
    if find_spec("tiktoken"):
        contenders["tiktoken, encode_ordinary_batch"] = _tiktoken(tokenizer, texts)
    reference = [ids.tolist() for ids in contenders["ours"]()]
    for name, contender in contenders.items():
        assert [ids.tolist() for ids in contender()] == reference, f"{name} gives other ids"
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return f"BPE, {megabytes:.1f} MB of source files, 8,192 ids, to uint16 arrays", contenders


def _tiktoken(tokenizer: BPETokenizer, texts: list[str]) -> Callable[[], Any]:
    """Tiktoken with the same vocabulary; its ranks are our ids less the special one."""
    from omniformer_tokenizers.text.vocabularies import GPT2_PATTERN

    tiktoken = __import__("tiktoken")
    ranks = {token: i - 1 for i, token in enumerate(tokenizer.token_bytes) if token}
    encoding = tiktoken.Encoding("own", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    return lambda: [
        np.array(ids, np.uint16) + np.uint16(1) for ids in encoding.encode_ordinary_batch(texts, num_threads=2)
    ]


def mel(n_clips: int = 200, seconds: float = 3.0) -> tuple[str, Contenders]:
    """Log-mel features, clip by clip and in one batch."""
    waves = 0.1 * torch.randn(n_clips, int(16000 * seconds))
    settings: dict[str, Any] = {"sample_rate": 16000, "n_mels": 80, "n_fft": 400, "hop_length": 160}

    def log(energies: torch.Tensor) -> torch.Tensor:
        return energies.clamp_(min=1e-10).log_()

    contenders: Contenders = {
        "ours": lambda: [log(mel_frames(wave[None], **settings)) for wave in waves],
        "ours, one batch": lambda: log(mel_frames(waves, **settings)),
        "ours, Whisper": lambda: [WHISPER(wave) for wave in waves],
    }
    if find_spec("torchaudio"):
        from torchaudio.transforms import MelSpectrogram

        spectrogram = MelSpectrogram(16000, 400, hop_length=160, n_mels=80)
        contenders["torchaudio, clip by clip"] = lambda: [log(spectrogram(wave)) for wave in waves]
        contenders["torchaudio, one batch"] = lambda: log(spectrogram(waves))
    if find_spec("transformers"):
        from transformers import WhisperFeatureExtractor

        extractor: Any = WhisperFeatureExtractor()
        clips = list(waves.numpy())
        contenders["transformers, Whisper"] = lambda: [
            extractor(clip, sampling_rate=16000, padding=False) for clip in clips
        ]
    return f"log-mel, {n_clips} clips of {seconds:g} s", contenders


WHISPER = WhisperTokenizer()


def patches(n_images: int = 50, side: int = 224) -> tuple[str, Contenders]:
    """Images to normalised patches, against the shortest plain code for it."""
    images = torch.randint(0, 256, (n_images, 3, side, side), dtype=torch.uint8)
    tokenizer = PatchTokenizer(patch_size=16)

    def plain(image: torch.Tensor) -> torch.Tensor:
        scaled = (image.float() / 255 - 0.5) / 0.5
        cut = scaled.reshape(3, side // 16, 16, side // 16, 16).permute(1, 3, 0, 2, 4)
        return cut.reshape(-1, 3 * 16 * 16)

    contenders: Contenders = {
        "ours": lambda: [tokenizer(image) for image in images],
        "plain reshape": lambda: [plain(image) for image in images],
    }
    return f"patches, {n_images} images of {side} x {side}", contenders


def laplacian(n_graphs: int = 2000) -> tuple[str, Contenders]:
    """Laplacian encodings of small graphs the size of molecules: trees of 10 to 37 nodes with a few rings."""
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for _ in range(n_graphs):
        n = int(torch.randint(10, 38, (), generator=generator))
        parents = (torch.rand(n - 1, generator=generator) * torch.arange(1, n)).long()
        rings = torch.randint(0, n, (2, 3), generator=generator)
        pairs = torch.cat([torch.stack([torch.arange(1, n), parents]), rings[:, rings[0] != rings[1]]], dim=1)
        graphs.append((torch.cat([pairs, pairs.flip(0)], dim=1).unique(dim=1), n))
    tokenizer = GraphTokenizer(laplacian=8)
    raws = [{"n_nodes": n, "edges": edges.T} for edges, n in graphs]
    contenders: Contenders = {
        "ours": lambda: encodings.laplacian_eigenvectors(graphs, 8),
        "ours, whole tokens": lambda: tokenizer.encode_batch(raws),
    }
    if find_spec("torch_geometric"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch_geometric.data import Data
            from torch_geometric.transforms import AddLaplacianEigenvectorPE

        transform = AddLaplacianEigenvectorPE(8, is_undirected=True)
        contenders["PyG, graph by graph"] = lambda: [transform(Data(edge_index=e, num_nodes=n)) for e, n in graphs]
    return f"Laplacian eigenvectors, 8 of each of {n_graphs} graphs", contenders


def packing() -> tuple[str, Contenders]:
    """Dealing a million lengths into rows of 2,048, against sorting them."""
    lengths = np.random.default_rng(0).exponential(300, 1_000_000).astype(np.int64).clip(1, 2048)
    fill = pack_lengths(lengths, 2048).fill
    contenders: Contenders = {"ours": lambda: pack_lengths(lengths, 2048), "numpy sort": lambda: np.sort(lengths)}
    return f"packing 1,000,000 lengths into rows of 2,048 ({fill:.2%} full)", contenders


SUBJECTS = {"bpe": bpe, "mel": mel, "patches": patches, "laplacian": laplacian, "packing": packing}


def timed(contenders: Contenders, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(title: str, seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Prints one subject's table, and returns its rows."""
    print(f"\n{title}\n{'contender':36}{'seconds':>10}{'peer / ours':>14}{'(range)':>16}")
    rows = []
    for name, own in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(own, seconds["ours"], strict=True)]
        ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
        print(f"{name:36}{statistics.median(own):10.4f}{ratio:14.2f}{f'({low:.2f}-{high:.2f})':>16}")
        rows.append({"subject": title, "contender": name, "seconds": statistics.median(own), "ratio": ratio})
    return rows


def main() -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Times the tokenizers against other libraries.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default: %(default)s)")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="one subject; may be given several times")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s) of torch, {os.cpu_count()} cores")
    rows = []
    for subject in options.only or SUBJECTS:
        title, contenders = SUBJECTS[subject]()
        rows += report(title, timed(contenders, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
