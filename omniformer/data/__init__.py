"""Data sets, and how they become packed batches: reading, batching, mixing, sharing between ranks, resuming.

The public names load on first use, so importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniformer.data.audio_folder import AudioFolder as AudioFolder
    from omniformer.data.augment import AudioJitter as AudioJitter
    from omniformer.data.augment import Chain as Chain
    from omniformer.data.augment import ColorJitter as ColorJitter
    from omniformer.data.augment import DropEdges as DropEdges
    from omniformer.data.augment import DropFeatures as DropFeatures
    from omniformer.data.augment import ImageJitter as ImageJitter
    from omniformer.data.augment import RandAugment as RandAugment
    from omniformer.data.augment import RandomErasing as RandomErasing
    from omniformer.data.augment import RandomFlip as RandomFlip
    from omniformer.data.augment import RandomResizedCrop as RandomResizedCrop
    from omniformer.data.augment import Reverberation as Reverberation
    from omniformer.data.augment import Sometimes as Sometimes
    from omniformer.data.augment import SpecAugment as SpecAugment
    from omniformer.data.augment import Speed as Speed
    from omniformer.data.blocks import Blocks as Blocks
    from omniformer.data.by_name import known as known
    from omniformer.data.compression import conditional_bz2_bits_per_byte as conditional_bz2_bits_per_byte
    from omniformer.data.corpus import TokenizedCorpus as TokenizedCorpus
    from omniformer.data.graph_tables import GraphTables as GraphTables
    from omniformer.data.held_out_edges import HeldOutEdges as HeldOutEdges
    from omniformer.data.image_folder import ImageFolder as ImageFolder
    from omniformer.data.masking import Masked as Masked
    from omniformer.data.mixing import CutMix as CutMix
    from omniformer.data.mixing import Either as Either
    from omniformer.data.mixing import MixUp as MixUp
    from omniformer.data.mixture import MixtureLoader as MixtureLoader
    from omniformer.data.module import OmniDataModule as OmniDataModule
    from omniformer.data.pyg_dataset import PyGDataset as PyGDataset
    from omniformer.data.random import generator as generator
    from omniformer.data.samples import Arrangement as Arrangement
    from omniformer.data.samples import SampleError as SampleError
    from omniformer.data.samples import Samples as Samples
    from omniformer.data.series_windows import SeriesWindows as SeriesWindows
    from omniformer.data.sets.atlas import GraphAtlas as GraphAtlas
    from omniformer.data.sets.clinc150 import Clinc150 as Clinc150
    from omniformer.data.sets.digit_words import DigitWords as DigitWords
    from omniformer.data.sets.digits import Digits as Digits
    from omniformer.data.sets.digits_three_ways import DigitsThreeWays as DigitsThreeWays
    from omniformer.data.sets.emoji import Emoji as Emoji
    from omniformer.data.sets.esc10 import ESC10 as ESC10
    from omniformer.data.sets.fsdd import SpokenDigits as SpokenDigits
    from omniformer.data.sets.karate import KarateClub as KarateClub
    from omniformer.data.sets.moving_digits import MovingDigits as MovingDigits
    from omniformer.data.sets.multi30k import Multi30k as Multi30k
    from omniformer.data.sets.python_topics import PythonTopics as PythonTopics
    from omniformer.data.sets.recall import Recall as Recall
    from omniformer.data.sets.spoken_strings import SpokenStrings as SpokenStrings
    from omniformer.data.sets.stdlib_code import StdlibCode as StdlibCode
    from omniformer.data.sets.tudataset import TUGraphs as TUGraphs
    from omniformer.data.sets.vowels import Vowels as Vowels
    from omniformer.data.source import Raw as Raw
    from omniformer.data.source import Source as Source
    from omniformer.data.span_corruption import SpanCorruption as SpanCorruption
    from omniformer.data.stream import Stream as Stream
    from omniformer.data.table import StreamedTable as StreamedTable
    from omniformer.data.table import Table as Table
    from omniformer.data.text_files import TextFiles as TextFiles

# Public surface in reading order: what a data set is, how it is fed, the embedded sets, readers for one's own.
_WHERE = {
    "Raw": "source",
    "Source": "source",
    "Samples": "samples",
    "Arrangement": "samples",
    "SampleError": "samples",
    "Blocks": "blocks",
    "Masked": "masking",
    "SpanCorruption": "span_corruption",
    "HeldOutEdges": "held_out_edges",
    "Stream": "stream",
    "MixtureLoader": "mixture",
    "OmniDataModule": "module",
    "generator": "random",
    "known": "by_name",
    "ImageJitter": "augment",
    "RandAugment": "augment",
    "RandomResizedCrop": "augment",
    "RandomFlip": "augment",
    "ColorJitter": "augment",
    "RandomErasing": "augment",
    "AudioJitter": "augment",
    "Speed": "augment",
    "Reverberation": "augment",
    "SpecAugment": "augment",
    "DropEdges": "augment",
    "DropFeatures": "augment",
    "Chain": "augment",
    "Sometimes": "augment",
    "MixUp": "mixing",
    "CutMix": "mixing",
    "Either": "mixing",
    "Digits": "sets.digits",
    "PythonTopics": "sets.python_topics",
    "StdlibCode": "sets.stdlib_code",
    "Vowels": "sets.vowels",
    "GraphAtlas": "sets.atlas",
    "KarateClub": "sets.karate",
    "Clinc150": "sets.clinc150",
    "MovingDigits": "sets.moving_digits",
    "Multi30k": "sets.multi30k",
    "Emoji": "sets.emoji",
    "SpokenDigits": "sets.fsdd",
    "SpokenStrings": "sets.spoken_strings",
    "ESC10": "sets.esc10",
    "TUGraphs": "sets.tudataset",
    "DigitsThreeWays": "sets.digits_three_ways",
    "Recall": "sets.recall",
    "DigitWords": "sets.digit_words",
    "Table": "table",
    "StreamedTable": "table",
    "ImageFolder": "image_folder",
    "TextFiles": "text_files",
    "TokenizedCorpus": "corpus",
    "AudioFolder": "audio_folder",
    "PyGDataset": "pyg_dataset",
    "GraphTables": "graph_tables",
    "SeriesWindows": "series_windows",
    "conditional_bz2_bits_per_byte": "compression",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_WHERE)
