"""Raw text, images, video, audio, graphs and series to tokens, for any PyTorch code.

The public names load on first use, so importing the package costs nothing: neither torch nor the library behind one
tokenizer is paid for by somebody who uses another.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniformer_tokenizers.audio import KaldiTokenizer as KaldiTokenizer
    from omniformer_tokenizers.audio import MuLawTokenizer as MuLawTokenizer
    from omniformer_tokenizers.audio import MultiScaleTokenizer as MultiScaleTokenizer
    from omniformer_tokenizers.audio import SpectrogramTokenizer as SpectrogramTokenizer
    from omniformer_tokenizers.audio import Wav2Vec2Tokenizer as Wav2Vec2Tokenizer
    from omniformer_tokenizers.audio import WaveformTokenizer as WaveformTokenizer
    from omniformer_tokenizers.audio import WhisperTokenizer as WhisperTokenizer
    from omniformer_tokenizers.class_tokens import ClassTokens as ClassTokens
    from omniformer_tokenizers.codes import FiniteScalarTokenizer as FiniteScalarTokenizer
    from omniformer_tokenizers.codes import ResidualCodebooks as ResidualCodebooks
    from omniformer_tokenizers.graph import GraphTokenizer as GraphTokenizer
    from omniformer_tokenizers.graph import MoleculeTokenizer as MoleculeTokenizer
    from omniformer_tokenizers.interleaving import interleaved as interleaved
    from omniformer_tokenizers.media import MediaError as MediaError
    from omniformer_tokenizers.packing import pack_lengths as pack_lengths
    from omniformer_tokenizers.scaled_bins import ScaledBinsTokenizer as ScaledBinsTokenizer
    from omniformer_tokenizers.series import SeriesTokenizer as SeriesTokenizer
    from omniformer_tokenizers.text import BPETokenizer as BPETokenizer
    from omniformer_tokenizers.text import ByteTokenizer as ByteTokenizer
    from omniformer_tokenizers.text import CanonicalTokenizer as CanonicalTokenizer
    from omniformer_tokenizers.text import CharacterTokenizer as CharacterTokenizer
    from omniformer_tokenizers.text import CodeTokenizer as CodeTokenizer
    from omniformer_tokenizers.text import Conversation as Conversation
    from omniformer_tokenizers.text import Corpus as Corpus
    from omniformer_tokenizers.text import PaddedTokenizer as PaddedTokenizer
    from omniformer_tokenizers.text import SentencePieceTokenizer as SentencePieceTokenizer
    from omniformer_tokenizers.text import SpelledWordTokenizer as SpelledWordTokenizer
    from omniformer_tokenizers.text import SubwordTokenizer as SubwordTokenizer
    from omniformer_tokenizers.text import WordTokenizer as WordTokenizer
    from omniformer_tokenizers.text import encode_corpus as encode_corpus
    from omniformer_tokenizers.text import from_gpt2 as from_gpt2
    from omniformer_tokenizers.text import from_tiktoken as from_tiktoken
    from omniformer_tokenizers.text import write_corpus as write_corpus
    from omniformer_tokenizers.tokenizer import Tokenizer as Tokenizer
    from omniformer_tokenizers.tokenizer import load as load
    from omniformer_tokenizers.tokens import Movable as Movable
    from omniformer_tokenizers.tokens import Packed as Packed
    from omniformer_tokenizers.tokens import Tokens as Tokens
    from omniformer_tokenizers.tokens import framed as framed
    from omniformer_tokenizers.tokens import pack as pack
    from omniformer_tokenizers.tokens import unpack as unpack
    from omniformer_tokenizers.vision import ColourTokenizer as ColourTokenizer
    from omniformer_tokenizers.vision import PatchBlockTokenizer as PatchBlockTokenizer
    from omniformer_tokenizers.vision import PatchTokenizer as PatchTokenizer
    from omniformer_tokenizers.vision import PixelTokenizer as PixelTokenizer
    from omniformer_tokenizers.vision import Resampling as Resampling
    from omniformer_tokenizers.vision import TileTokenizer as TileTokenizer
    from omniformer_tokenizers.vision import TubeletTokenizer as TubeletTokenizer

# Public surface in reading order: what tokens are, the contract, then the tokenizers of each modality, then tools.
_NAMES = {
    "tokens": "Tokens Packed Movable framed pack unpack",
    "tokenizer": "Tokenizer load",
    "text": "BPETokenizer CodeTokenizer from_gpt2 from_tiktoken SubwordTokenizer SentencePieceTokenizer "
    "CanonicalTokenizer PaddedTokenizer ByteTokenizer CharacterTokenizer WordTokenizer SpelledWordTokenizer "
    "Conversation Corpus encode_corpus write_corpus",
    "vision": "PatchTokenizer PatchBlockTokenizer TileTokenizer Resampling ColourTokenizer PixelTokenizer "
    "TubeletTokenizer",
    "audio": "SpectrogramTokenizer WhisperTokenizer KaldiTokenizer MultiScaleTokenizer "
    "WaveformTokenizer MuLawTokenizer Wav2Vec2Tokenizer",
    "graph": "GraphTokenizer MoleculeTokenizer",
    "series": "SeriesTokenizer",
    "scaled_bins": "ScaledBinsTokenizer",
    "class_tokens": "ClassTokens",
    "codes": "ResidualCodebooks FiniteScalarTokenizer",
    "interleaving": "interleaved",
    "media": "MediaError",
    "packing": "pack_lengths",
}
__all__ = " ".join(_NAMES.values()).split()  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
