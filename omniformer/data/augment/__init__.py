"""Random changes of samples in training, keyed by sample: parts for `augment` and `augment_tokens` of a stream."""

from omniformer.data.augment.augmentation import Augment, Augmentation, Chain, Sometimes
from omniformer.data.augment.frames import SpecAugment
from omniformer.data.augment.graphs import DropEdges, DropFeatures
from omniformer.data.augment.pictures import (
    ColorJitter,
    ImageJitter,
    RandAugment,
    RandomErasing,
    RandomFlip,
    RandomResizedCrop,
)
from omniformer.data.augment.sounds import AudioJitter, Reverberation, Speed

__all__ = [
    "AudioJitter",
    "Augment",
    "Augmentation",
    "Chain",
    "ColorJitter",
    "DropEdges",
    "DropFeatures",
    "ImageJitter",
    "RandAugment",
    "RandomErasing",
    "RandomFlip",
    "RandomResizedCrop",
    "Reverberation",
    "Sometimes",
    "SpecAugment",
    "Speed",
]
