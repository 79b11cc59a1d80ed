"""The handwritten digits that ship with scikit-learn: 1,797 real images of 8 x 8 pixels."""

from collections.abc import Sequence
from functools import cached_property

import torch

from omniformer.data.source import Raw, Source, Split
from omniformer.data.splitting import hashed_split


class Digits(Source):
    """Handwritten digits of scikit-learn: the test part of the UCI set by Alpaydin and Kaynak (1998).

    The split is fixed and stratified: 70 % train, 10 % validation, 20 % test of each class. Writers are not known, so
    one writer may be in all three. Pixels 0..16 are scaled to 0..255.

    Example:
        >>> raw = Digits().split("val")[0]
        >>> raw.contents["vision"].shape, raw.targets["label"].dtype
        (torch.Size([1, 8, 8]), torch.int64)
    """

    modalities = ("vision",)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return tuple("0123456789")

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        from sklearn.datasets import load_digits

        pixels, classes = load_digits(return_X_y=True)
        images = torch.from_numpy(pixels * (255 / 16)).round().to(torch.uint8).reshape(-1, 8, 8)
        labels = torch.from_numpy(classes).long()
        ids = [f"digits/{i}" for i in range(len(images))]
        split = hashed_split(ids, val=0.1, test=0.2, strata=labels.tolist())
        return {
            name: [Raw(id=ids[i], contents={"vision": images[i, None]}, targets={"label": labels[i]}) for i in items]
            for name, items in split.items()
        }
