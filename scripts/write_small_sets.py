"""Writes small sets of pictures and sounds, as folders of classes, and of texts, as tables, out of larger known sets:
what somebody's own data look like.

Run: `uv run python scripts/write_small_sets.py --data-root DATA small`. Then `omniformer prepare small/photos`,
`omniformer prepare small/requests77.csv`, or `omniformer train modality=vision data=image_folder
data.source.root=small/photos ...`.

    digits        MNIST, 15 training pictures of each of ten classes
    photos        CIFAR-10, 40 training pictures of each of its first five classes
    emoji          Twemoji by group, at most 40 training pictures of each, variants of skin tones left out
    large         the same photos, enlarged to 160 to 320 pixels, each side by itself, as JPEG
    characters    200 characters of 3 to 5 strokes at 105 x 105, as Omniglot's, drawn by 14 hands for training, 4 others
                  for validation and 4 for the test: each hand has a slant, width and pen of its own and never draws
                  twice the same
    requests      CLINC150 in scope, 7 training texts of each of 150 kinds
    requests77    CLINC150, all 100 training texts of each of the 77 kinds whose names are the first by alphabet
    reviews       sentence polarity, whole
    reviews1000   sentence polarity, 500 training texts of each of both classes
    words         spoken digits, 12 training recordings of each
    padded        these in a second of silence with a little noise, at any place
    voices        spoken digits, 40 of each of five voices together; a sixth, theo, is the test
    sounds        ESC-10, whole: 24 training clips of each of ten kinds; fold 1 tests
    sounds8       the same, 8 of each

Of known sets, validation has half as many pictures of a class as training (at least 10), test 100, as far as there are
any; of texts and sounds both are whole. Chosen are the first of the set's own splits in an order that depends on
nothing but their ids.
"""

import argparse
import csv
import hashlib
import io
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from omniformer_tokenizers.vision.pixels import read_pixels
from PIL import Image, ImageDraw

from omniformer.data.by_name import known
from omniformer.data.source import SPLITS, Raw, Source

N_TEST = 100
HANDS = {"train": 14, "val": 4, "test": 4}
SIDE = 105  # pixels of a character, as Omniglot's
Point = tuple[float, float]
Stroke = list[Point]


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
    write(given.folder / "large", known("cifar10", data_root=root), n_train=40, n_classes=5, change=enlarged)
    write_characters(given.folder / "characters")
    requests = known("clinc150", data_root=root, out_of_scope=False)
    reviews = known("sentence_polarity", data_root=root)
    write_texts(given.folder / "requests.csv", requests, n_train=7)
    write_texts(given.folder / "requests77.csv", requests, n_classes=77)
    write_texts(given.folder / "reviews.csv", reviews)
    write_texts(given.folder / "reviews1000.csv", reviews, n_train=500)
    write_sounds(given.folder / "words", known("fsdd", data_root=root), n_train=12)
    write_sounds(given.folder / "padded", known("fsdd", data_root=root), n_train=12, change=padded)
    write_sounds(given.folder / "voices", known("fsdd", data_root=root, speaker="theo"), n_train=40)
    write_sounds(given.folder / "sounds", known("esc10", data_root=root, fold=1))
    write_sounds(given.folder / "sounds8", known("esc10", data_root=root, fold=1), n_train=8)


def write(
    folder: Path,
    source: Source,
    *,
    n_train: int,
    n_classes: int | None = None,
    channels: int = 3,
    change: Callable[[Image.Image, str], tuple[Image.Image, str]] | None = None,
) -> None:
    """Writes some pictures of each class, as `<split>/<class>/<number>.png`.

    Args:
        folder: of the set.
        source: where the pictures are from.
        n_train: of each class.
        n_classes: the first so many; None for all.
        channels: 1 grey, 3 colour.
        change: makes another picture of one and the id of its sample, and says the suffix of its file.
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
                image, suffix = Image.fromarray(pixels.numpy()), "png"
                if change is not None:
                    image, suffix = change(image, raw.id)
                image.save(into / f"{number}.{suffix}")


def write_texts(file: Path, source: Source, *, n_train: int | None = None, n_classes: int | None = None) -> None:
    """Writes texts of each class, as a table with the columns `text`, `kind` and `split`.

    Args:
        file: the table.
        source: where the texts are from.
        n_train: training texts of each class; None for all. Validation and test are whole.
        n_classes: those whose names are the first so many by alphabet; None for all.
    """
    kinds = sorted(source.labels)[:n_classes]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table)
        rows.writerow(["text", "kind", "split"])
        for split in SPLITS:
            for label, raws in chosen(source.split(split), n_train if split == "train" else None).items():
                if source.labels[label] in kinds:
                    rows.writerows([raw.contents["text"], source.labels[label], split] for raw in raws)


def write_sounds(
    folder: Path,
    source: Source,
    *,
    n_train: int | None = None,
    change: Callable[[bytes, str], bytes] = lambda content, name: content,
) -> None:
    """Writes sounds of each class as the files that they are, as `<split>/<class>/<number>.<its suffix>`.

    Args:
        folder: of the set.
        source: where the sounds are from, encoded.
        n_train: training sounds of each class; None for all. Validation and test are whole.
        change: makes another file of one and the id of its sample.
    """
    for split in SPLITS:
        for label, raws in chosen(source.split(split), n_train if split == "train" else None).items():
            into = folder / split / source.labels[label].replace(" ", "_")
            into.mkdir(parents=True, exist_ok=True)
            for number, raw in enumerate(raws):
                content = change(raw.contents["audio"], raw.id)
                suffix = "ogg" if content.startswith(b"OggS") else "wav"
                (into / f"{number}.{suffix}").write_bytes(content)


def chosen(raws: Sequence[Raw], n: int | None) -> dict[int, list[Raw]]:
    """Some samples of each class, or all, the first by a hash of their ids."""
    of_class: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for place, raw in enumerate(raws):
        of_class[int(raw.targets["label"])].append((hashlib.sha256(raw.id.encode()).digest(), place))
    return {label: [raws[place] for _, place in sorted(keys)[:n]] for label, keys in of_class.items()}


def padded(content: bytes, name: str) -> bytes:
    """A second in which a sound, or the first second of it, stands somewhere, with noise 50 dB below the loudest."""
    samples, rate = soundfile.read(io.BytesIO(content))
    chance = np.random.default_rng(list(name.encode()))
    second = chance.normal(0, 10 ** (-50 / 20), rate)
    place = chance.integers(0, max(rate - len(samples), 0) + 1)
    second[place : place + rate][: len(samples)] += samples[:rate]
    stream = io.BytesIO()
    soundfile.write(stream, second, rate, format="WAV")
    return stream.getvalue()


def enlarged(image: Image.Image, name: str) -> tuple[Image.Image, str]:
    """A photo of 160 to 320 pixels, each side by itself, as somebody's own differ."""
    chance = random.Random(name)
    return image.resize((chance.randint(160, 320), chance.randint(160, 320)), Image.Resampling.BICUBIC), "jpg"


def write_characters(folder: Path, n_classes: int = 200) -> None:
    """Writes invented characters by several hands, as `<split>/<character>/<hand>.png`.

    Args:
        folder: of the set.
        n_classes: how many characters there are.
    """
    hands = [(split, f"{split}_{n}") for split in SPLITS for n in range(HANDS[split])]
    for number in range(n_classes):
        strokes = character(random.Random(f"character {number}"))
        for split, hand in hands:
            into = folder / split / f"character_{number:03d}"
            into.mkdir(parents=True, exist_ok=True)
            drawn(strokes, hand, number).save(into / f"{hand}.png")


def character(chance: random.Random) -> list[Stroke]:
    """3 to 5 strokes, each a cubic Bezier curve of four points in the unit square; half begin where another ends."""
    strokes: list[Stroke] = []
    for _ in range(chance.randint(3, 5)):
        stroke = [(chance.uniform(0.1, 0.9), chance.uniform(0.1, 0.9)) for _ in range(4)]
        if strokes and chance.random() < 0.5:
            stroke[0] = chance.choice(strokes)[-1]
        strokes.append(stroke)
    return strokes


def drawn(strokes: Sequence[Stroke], hand: str, number: int) -> Image.Image:
    """A character as one hand draws it: black on white, each point a little elsewhere."""
    style, chance = random.Random(hand), random.Random(f"{hand} {number}")
    slant, width, height = style.gauss(0, 0.15), style.uniform(0.7, 1.0), style.uniform(0.7, 1.0)
    turn, pen = style.gauss(0, 0.1) + chance.gauss(0, 0.07), style.uniform(2.0, 4.0)
    right, down = chance.gauss(0, 0.05), chance.gauss(0, 0.05)
    image = Image.new("L", (2 * SIDE, 2 * SIDE), 255)
    canvas = ImageDraw.Draw(image)
    for stroke in strokes:
        points = []
        for x, y in stroke:
            x, y = width * (x - 0.5 + chance.gauss(0, 0.05)), height * (y - 0.5 + chance.gauss(0, 0.05))
            x += slant * y
            x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
            points.append((2 * SIDE * (0.5 + x + right), 2 * SIDE * (0.5 + y + down)))
        canvas.line(list(curve(points)), fill=0, width=round(2 * pen), joint="curve")
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def curve(points: Sequence[Point], steps: int = 24) -> Iterator[Point]:
    """Points along the cubic Bezier curve of four points."""
    for n in range(steps + 1):
        t = n / steps
        shares = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        yield tuple(sum(s * p[axis] for s, p in zip(shares, points, strict=True)) for axis in (0, 1))  # pyright: ignore[reportReturnType]


if __name__ == "__main__":
    main()
