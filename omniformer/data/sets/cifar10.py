"""CIFAR-10: 60,000 small colour photos of ten kinds of things."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omniformer_tokenizers.versions import fitting
from torch import Tensor

from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.sets.reading import check_labels
from omniformer.data.source import Raw, Source, Split, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Every so many images of a class, counted within the official training part, validate.
VAL_EVERY = 10


class CIFAR10(Source):
    """Colour photos of 32 x 32 pixels in ten classes (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

    45,000 train, 5,000 validation and 10,000 test images, equally many of each class. Validation takes every tenth
    official training image of a class, beginning with the first. Images are in the order of their classes; an id tells
    the class and the place within it.

    Read from `cifar10/cifar10_jpeg.npz`, a copy of which every image is a JPEG file, or else from the original in
    `cifar10/cifar-10-batches-py`, where torchvision puts it. Both give the same ids, labels, counts and order, but not
    the same pixels: JPEG loses a little, and the places within a class are those that the copy chose, which need not be
    the original's. Say which one was used beside a score; they can differ by a few tenths of a per cent.

    Args:
        data_root: the folder that holds `cifar10`; None means the current folder.
        download: fetch the original by torchvision where no file lies there; off, so that no run reaches out unasked.

    Raises:
        FileNotFoundError: there are no files, and `download` is off.
        ValueError: a file is damaged, a label is not 0 to 9, or an image has no bytes; names file and sample.

    Example:
        >>> CIFAR10(data_root="data").facts
        {'n_classes': 10}
    """

    modalities = ("vision",)

    def __init__(self, *, data_root: str | None = None, download: bool = False) -> None:
        self.data_root = data_root
        self.download = download

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return CLASSES

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order; made when they are asked for."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, OnAccess]:
        packed = resolve("cifar10/cifar10_jpeg.npz", self.data_root)
        train, test = _packed(packed) if packed.is_file() else _original(packed.parent, self.download)
        rows, places = _by_class(train.labels)
        val = places % VAL_EVERY == 0
        test_rows, _ = _by_class(test.labels)
        chosen: dict[Split, tuple[_Part, Tensor]] = {
            "train": (train, rows[~val[rows]]),
            "val": (train, rows[val[rows]]),
            "test": (test, test_rows),
        }
        return {name: OnAccess(len(of), partial(_raw, name, part, of)) for name, (part, of) in chosen.items()}


class _Part:
    """The images and labels of one official part; `offsets` cut the images where they are files end to end."""

    def __init__(self, images: Tensor, labels: "NDArray[Any]", offsets: "NDArray[Any] | None" = None) -> None:
        self.images = images
        self.labels = torch.from_numpy(labels).long()
        self.offsets = offsets
        self.places = _by_class(self.labels)[1]

    def __getitem__(self, row: int) -> Tensor | bytes:
        if self.offsets is None:
            return self.images[row]
        return self.images[self.offsets[row] : self.offsets[row + 1]].numpy().tobytes()


def _by_class(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows in the order of their classes, and the place of each row within its class."""
    rows = labels.argsort(stable=True)
    counts = labels.bincount(minlength=len(CLASSES))
    firsts = counts.cumsum(0) - counts
    places = torch.empty_like(rows)
    places[rows] = torch.arange(len(rows)) - firsts[labels[rows]]
    return rows, places


def _raw(split: Split, part: _Part, rows: Tensor, number: int) -> Raw:
    row = int(rows[number])
    label = part.labels[row]
    id = f"cifar10/{split}/{CLASSES[int(label)]}-{int(part.places[row])}"
    return Raw(id=id, contents={"vision": part[row]}, targets={"label": label})


def _packed(file: Path) -> tuple[_Part, _Part]:
    kinds = ("jpeg", "offset", "label")
    arrays = read_arrays(file, ["classes", *(f"{part}_{kind}" for part in ("train", "test") for kind in kinds)])
    if tuple(arrays["classes"].tolist()) != CLASSES:
        raise ValueError(
            f"{file}: the classes are {', '.join(map(str, arrays['classes']))}; expected {', '.join(CLASSES)}"
        )
    parts = []
    for name in ("train", "test"):
        images, offsets, labels = (arrays[f"{name}_{kind}"] for kind in kinds)
        if offsets.ndim != 1 or len(offsets) < 2 or offsets.dtype.kind not in "iu":
            raise ValueError(f"{file}: '{name}_offset' is {offsets.dtype} {list(offsets.shape)}; need integers")
        check_labels(labels, len(offsets) - 1, len(CLASSES), f"{file}, array '{name}_label'")
        sizes = offsets[1:] - offsets[:-1]
        if images.dtype != "uint8" or offsets[0] != 0 or offsets[-1] != len(images):
            raise ValueError(f"{file}: '{name}_offset' ends at {offsets[-1]}, '{name}_jpeg' at {len(images)} bytes")
        if (sizes <= 0).any():
            raise ValueError(f"{file}: {name} image {int((sizes <= 0).argmax())} has no bytes; copy the file again")
        parts.append(_Part(torch.from_numpy(images), labels, offsets))
    return parts[0], parts[1]


def _original(folder: Path, download: bool) -> tuple[_Part, _Part]:
    """The parts of torchvision's copy; torchvision checks its hashes before it reads a file."""
    import numpy as np

    with fitting():
        from torchvision import datasets

    raw = folder / datasets.CIFAR10.base_folder
    if not raw.is_dir() and not download:
        raise FileNotFoundError(
            f"no file {str(folder / 'cifar10_jpeg.npz')!r}, and no original in {str(raw)!r}; set data_root to the "
            "folder that holds cifar10, or fetch it with download=true"
        )
    parts = []
    for train in (True, False):
        try:
            part = datasets.CIFAR10(str(folder), train=train, download=download)
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            raise ValueError(f"cifar10 cannot be read from {raw}: {error}") from error
        labels = np.array(part.targets)
        check_labels(labels, len(part.data), len(CLASSES), f"{raw}, {'train' if train else 'test'}")
        parts.append(_Part(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), labels))
    return parts[0], parts[1]
