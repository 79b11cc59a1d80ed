"""MNIST: 70,000 handwritten digits of 28 x 28 pixels."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omniformer_tokenizers.versions import fitting
from torch import Tensor

from omniformer.core.ranges import Count
from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.sets.reading import check_labels, check_pictures
from omniformer.data.source import Raw, Source, Split, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The last so many of the official training images validate.
VAL = 5_000


class MNIST(Source):
    """Handwritten digits of 28 x 28 grey pixels (LeCun et al. 1998): 55,000 train, 5,000 validation, 10,000 test.

    Validation is the last 5,000 of the official training images. Read from `mnist/mnist.npz` (arrays `x_train`,
    `y_train`, `x_test`, `y_test`), or else from the original files in `mnist/MNIST/raw`, where torchvision puts them;
    both give the same samples.

    Args:
        data_root: the folder that holds `mnist`; None means the current folder.
        download: fetch the original by torchvision where no file lies there; off, so that no run reaches out unasked.
        max_train: take only the first so many training images, for joint runs with smaller sets; None takes all.

    Raises:
        FileNotFoundError: there are no files, and `download` is off.
        ValueError: a file is damaged, a label is not 0 to 9, or `max_train` is not 1 to the number of images.

    Example:
        >>> MNIST(data_root="data", max_train=1000).facts
        {'n_classes': 10}
    """

    modalities = ("vision",)

    def __init__(self, *, data_root: str | None = None, download: bool = False, max_train: Count | None = None) -> None:
        if max_train is not None and max_train < 1:
            raise ValueError(f"max_train={max_train} must be at least 1, or null for all training images")
        self.data_root = data_root
        self.download = download
        self.max_train = max_train

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return tuple("0123456789")

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order; made when they are asked for."""
        pixels, labels, first = self._parts[name]
        return OnAccess(len(labels), partial(_raw, name, pixels, labels, first))

    def digits(self, name: Split) -> list[int]:
        """What is written on each picture of one split, in the order of its samples, of which none is made for it."""
        return self._parts[name][1].tolist()

    @cached_property
    def _parts(self) -> dict[Split, tuple[Tensor, Tensor, int]]:
        """The pictures of each split, their labels, and the number of the first one in its file."""
        packed = resolve("mnist/mnist.npz", self.data_root)
        arrays = _packed(packed) if packed.is_file() else _original(packed.parent, self.download)
        n = len(arrays[0]) - VAL
        if n < 1 or n < (self.max_train or 1):
            wanted = "" if self.max_train is None else f", max_train={self.max_train} are wanted"
            raise ValueError(f"mnist has {len(arrays[0])} training images, the last {VAL} validate{wanted}")
        x_train, y_train, x_test, y_test = (torch.from_numpy(array) for array in arrays)
        last = self.max_train or n
        return {
            "train": (x_train[:last], y_train[:last].long(), 0),
            "val": (x_train[n:], y_train[n:].long(), n),
            "test": (x_test, y_test.long(), 0),
        }


def _raw(split: Split, pixels: Tensor, labels: Tensor, first: int, number: int) -> Raw:
    contents = {"vision": pixels[number, None]}
    return Raw(id=f"mnist/{split}/{first + number}", contents=contents, targets={"label": labels[number]})


def _packed(file: Path) -> "list[NDArray[Any]]":
    names = ("x_train", "y_train", "x_test", "y_test")
    return _checked(list(read_arrays(file, names).values()), [f"{file}, array {name!r}" for name in names])


def _original(folder: Path, download: bool) -> "list[NDArray[Any]]":
    """The arrays of torchvision's copy, which lies in `MNIST/raw` below the folder."""
    with fitting():
        from torchvision import datasets

    raw = folder / "MNIST" / "raw"
    parts = ("train-images", "train-labels", "t10k-images", "t10k-labels")
    there = all(any(raw.glob(f"{part}-idx?-ubyte")) for part in parts)
    if not there and not download:
        raise FileNotFoundError(
            f"no file {str(folder / 'mnist.npz')!r}, and no original files in {str(raw)!r}; set data_root to the "
            "folder that holds mnist, or fetch them with download=true"
        )
    try:
        train, test = (datasets.MNIST(str(folder), train=is_train, download=not there) for is_train in (True, False))
    except (RuntimeError, ValueError, OSError, AssertionError, TypeError) as error:
        raise ValueError(f"mnist cannot be {'read from' if there else 'fetched into'} {raw}: {error}") from error
    arrays = [train.data.numpy(), train.targets.numpy(), test.data.numpy(), test.targets.numpy()]
    return _checked(arrays, [str(raw / part) for part in parts])


def _checked(arrays: "list[NDArray[Any]]", where: list[str]) -> "list[NDArray[Any]]":
    for i in (0, 2):
        check_pictures(arrays[i], (28, 28), where[i])
        check_labels(arrays[i + 1], len(arrays[i]), 10, where[i + 1])
    return arrays
