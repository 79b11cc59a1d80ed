"""Raw text, images, video, audio, graphs and series to tokens, for any PyTorch code.

The public names load on first use, so importing the package costs nothing: neither torch nor the library behind one
tokenizer is paid for by somebody who uses another.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniformer_tokenizers.audio import SpectrogramTokenizer as SpectrogramTokenizer
    from omniformer_tokenizers.audio_presets import KaldiTokenizer as KaldiTokenizer
    from omniformer_tokenizers.audio_presets import MultiScaleTokenizer as MultiScaleTokenizer
    from omniformer_tokenizers.audio_presets import WhisperTokenizer as WhisperTokenizer
    from omniformer_tokenizers.characters import CharacterTokenizer as CharacterTokenizer
    from omniformer_tokenizers.class_tokens import ClassTokens as ClassTokens
    from omniformer_tokenizers.codebook import ColourTokenizer as ColourTokenizer
    from omniformer_tokenizers.codebook import PixelTokenizer as PixelTokenizer
    from omniformer_tokenizers.corpus import Corpus as Corpus
    from omniformer_tokenizers.corpus import encode_corpus as encode_corpus
    from omniformer_tokenizers.graph import GraphTokenizer as GraphTokenizer
    from omniformer_tokenizers.media import MediaError as MediaError
    from omniformer_tokenizers.molecules import MoleculeTokenizer as MoleculeTokenizer
    from omniformer_tokenizers.packing import pack_lengths as pack_lengths
    from omniformer_tokenizers.raw_bytes import ByteTokenizer as ByteTokenizer
    from omniformer_tokenizers.resampling import Resampling as Resampling
    from omniformer_tokenizers.sentencepiece import SentencePieceTokenizer as SentencePieceTokenizer
    from omniformer_tokenizers.series import SeriesTokenizer as SeriesTokenizer
    from omniformer_tokenizers.source_code import CodeTokenizer as CodeTokenizer
    from omniformer_tokenizers.subword import SubwordTokenizer as SubwordTokenizer
    from omniformer_tokenizers.text import BPETokenizer as BPETokenizer
    from omniformer_tokenizers.tokenizer import Tokenizer as Tokenizer
    from omniformer_tokenizers.tokenizer import load as load
    from omniformer_tokenizers.tokens import Movable as Movable
    from omniformer_tokenizers.tokens import Packed as Packed
    from omniformer_tokenizers.tokens import Tokens as Tokens
    from omniformer_tokenizers.tokens import framed as framed
    from omniformer_tokenizers.tokens import pack as pack
    from omniformer_tokenizers.tokens import unpack as unpack
    from omniformer_tokenizers.video import TubeletTokenizer as TubeletTokenizer
    from omniformer_tokenizers.vision import PatchTokenizer as PatchTokenizer
    from omniformer_tokenizers.waveform import MuLawTokenizer as MuLawTokenizer
    from omniformer_tokenizers.waveform import WaveformTokenizer as WaveformTokenizer
    from omniformer_tokenizers.words import WordTokenizer as WordTokenizer

# Public surface in reading order: what tokens are, the contract, then the tokenizers of each modality, then tools.
_WHERE = {
    "Tokens": "tokens",
    "Packed": "tokens",
    "Movable": "tokens",
    "framed": "tokens",
    "pack": "tokens",
    "unpack": "tokens",
    "Tokenizer": "tokenizer",
    "load": "tokenizer",
    "BPETokenizer": "text",
    "CodeTokenizer": "source_code",
    "SubwordTokenizer": "subword",
    "SentencePieceTokenizer": "sentencepiece",
    "ByteTokenizer": "raw_bytes",
    "CharacterTokenizer": "characters",
    "WordTokenizer": "words",
    "PatchTokenizer": "vision",
    "Resampling": "resampling",
    "ColourTokenizer": "codebook",
    "PixelTokenizer": "codebook",
    "TubeletTokenizer": "video",
    "SpectrogramTokenizer": "audio",
    "WhisperTokenizer": "audio_presets",
    "KaldiTokenizer": "audio_presets",
    "MultiScaleTokenizer": "audio_presets",
    "WaveformTokenizer": "waveform",
    "MuLawTokenizer": "waveform",
    "GraphTokenizer": "graph",
    "MoleculeTokenizer": "molecules",
    "SeriesTokenizer": "series",
    "ClassTokens": "class_tokens",
    "MediaError": "media",
    "Corpus": "corpus",
    "encode_corpus": "corpus",
    "pack_lengths": "packing",
}
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_WHERE)
