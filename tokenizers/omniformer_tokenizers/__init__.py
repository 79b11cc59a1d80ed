"""Raw text, images, audio and graphs to tokens, for any PyTorch code.

The public names load on first use, so importing the package costs nothing: neither torch nor the library behind one
tokenizer is paid for by somebody who uses another.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniformer_tokenizers.audio import SpectrogramTokenizer as SpectrogramTokenizer
    from omniformer_tokenizers.graph import GraphTokenizer as GraphTokenizer
    from omniformer_tokenizers.text import BPETokenizer as BPETokenizer
    from omniformer_tokenizers.tokenizer import Tokenizer as Tokenizer
    from omniformer_tokenizers.tokenizer import load as load
    from omniformer_tokenizers.tokens import Movable as Movable
    from omniformer_tokenizers.tokens import Packed as Packed
    from omniformer_tokenizers.tokens import Tokens as Tokens
    from omniformer_tokenizers.tokens import pack as pack
    from omniformer_tokenizers.tokens import unpack as unpack
    from omniformer_tokenizers.vision import PatchTokenizer as PatchTokenizer

# Public surface in reading order: what tokens are, the contract, then one tokenizer a modality.
_WHERE = {
    "Tokens": "tokens",
    "Packed": "tokens",
    "Movable": "tokens",
    "pack": "tokens",
    "unpack": "tokens",
    "Tokenizer": "tokenizer",
    "load": "tokenizer",
    "BPETokenizer": "text",
    "PatchTokenizer": "vision",
    "SpectrogramTokenizer": "audio",
    "GraphTokenizer": "graph",
}
__all__ = list(_WHERE)  # noqa: PLE0604


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_WHERE)
