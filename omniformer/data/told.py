"""What a run says of its data before it begins."""

from omniformer.data.source import SPLITS
from omniformer.data.stream import Stream


def told(name: str, stream: Stream) -> str:
    """How many samples each split of a data set has, and how many classes there are; no sample is read for it.

    Args:
        name: of the data set.
        stream: feeds it.

    Example:
        >>> from omniformer.data import Digits
        >>> told("vision", Stream(source=Digits()))
        'vision: 1,258 samples train, 180 validate, 359 test; 10 classes'
    """
    sizes = {split: len(stream.raws(split)) for split in SPLITS}
    said = f"{name}: {sizes['train']:,} samples train, {sizes['val']:,} validate, {sizes['test']:,} test"
    return f"{said}; {len(labels):,} classes" if (labels := stream.source.labels) else said
