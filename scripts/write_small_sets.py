"""Writes small sets of pictures, as folders of classes, out of larger known sets: what somebody's own data look like.

Run: `uv run python scripts/write_small_sets.py --data-root DATA small`. Then `omniformer prepare small/photos`, or
`omniformer train modality=vision data=image_folder data.source.root=small/photos ...`.

    digits    MNIST, 15 training pictures of each of ten classes
    photos    CIFAR-10, 40 training pictures of each of its first five classes
    emoji     Twemoji by group, at most 40 training pictures of each, variants of skin tones left out

Validation has half as many pictures of a class as training (at least 10), test 100, as far as there are any: the first
ones of the known set's own splits in an order that depends on nothing but their ids.
"""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from omniformer_tokenizers.vision.pixels import read_pixels
from PIL import Image

from omniformer.data.by_name import known
from omniformer.data.source import SPLITS, Raw, Source

N_TEST = 100


def main() -> None:
    """Writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the sets go, one folder each")
    parser.add_argument("--data-root", required=True, help="the folder of data sets")
    given = parser.parse_args()
    root = given.data_root
    write(given.folder / "digits", known("mnist", data_root=root), n_train=15, channels=1)
    write(given.folder / "photos", known("cifar10", data_root=root), n_train=40, n_classes=5)
    write(given.folder / "emoji", known("emoji", data_root=root, skin_tones=False), n_train=40)


def write(folder: Path, source: Source, *, n_train: int, n_classes: int | None = None, channels: int = 3) -> None:
    """Writes some pictures of each class, as `<split>/<class>/<number>.png`.

    Args:
        folder: of the set.
        source: where the pictures are from.
        n_train: of each class.
        n_classes: the first so many; None for all.
        channels: 1 grey, 3 colour.
    """
    numbers = {"train": n_train, "val": max(n_train // 2, 10), "test": N_TEST}
    for split in SPLITS:
        for label, raws in chosen(source.split(split), numbers[split]).items():
            if n_classes is not None and label >= n_classes:
                continue
            into = folder / split / source.labels[label].replace(" ", "_").replace("&", "and")
            into.mkdir(parents=True, exist_ok=True)
            for number, raw in enumerate(raws):
                pixels = read_pixels(raw.contents["vision"], channels).permute(1, 2, 0).squeeze(-1)
                Image.fromarray(pixels.numpy()).save(into / f"{number}.png")


def chosen(raws: Sequence[Raw], n: int) -> dict[int, list[Raw]]:
    """Some samples of each class, the first by a hash of their ids."""
    of_class: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for place, raw in enumerate(raws):
        of_class[int(raw.targets["label"])].append((hashlib.sha256(raw.id.encode()).digest(), place))
    return {label: [raws[place] for _, place in sorted(keys)[:n]] for label, keys in of_class.items()}


if __name__ == "__main__":
    main()
