"""Images and video as tokens: patches and tubelets of pixels, or ids of colours."""

from omniformer_tokenizers.vision.blocks import PatchBlockTokenizer
from omniformer_tokenizers.vision.codebook import ColourTokenizer, PixelTokenizer
from omniformer_tokenizers.vision.patches import PatchTokenizer
from omniformer_tokenizers.vision.resampling import Resampling
from omniformer_tokenizers.vision.tiles import TileTokenizer
from omniformer_tokenizers.vision.video import TubeletTokenizer

__all__ = [
    "ColourTokenizer",
    "PatchBlockTokenizer",
    "PatchTokenizer",
    "PixelTokenizer",
    "Resampling",
    "TileTokenizer",
    "TubeletTokenizer",
]
