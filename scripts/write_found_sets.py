"""Writes sets of pictures of many sizes and shapes, as folders of classes, out of what packages of Debian bring: larger
than those of the sets that are usual, and as unlike each other as somebody's own.

Run: `apt-get download tuxpaint-stamps-default ufoai-textures nexuiz-textures`, unpack each by `dpkg -x FILE found`,
then `uv run python scripts/write_found_sets.py found small`, and `omniformer prepare small/stamps`.

    stamps      drawings and photos on transparent ground, 20 to 2,348 pixels long, of seven kinds of things: 218 train
                (at most 40 of a kind), 73 validate, 114 test
    textures    walls and grounds of games, 128 to 1,024 pixels long, mostly photos, by what they are made of: 140
                train, 60 validate, 118 test; of such as look alike the first alone

Which picture is in which split is drawn once for all, by the name of its class.
"""

import argparse
import io
import random
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from PIL import Image

KINDS = {  # of stamps, by folders
    "animals": ["animals"],
    "food": ["food"],
    "plants": ["plants"],
    "town": ["town/houses", "town/monuments", "town/cartoon"],
    "letters": ["symbols/alphabets/asl"],  # hands that spell
    "vehicles": ["vehicles", "military/vehicles"],
    "things": ["household", "hobbies", "clothes"],
}
MATERIALS = ("wood", "brick", "rock", "metal", "tile")
_NO_PICTURE = re.compile(r"_(nm|norm|gloss|bump|sm|gm|glow|rm|local|single.*)$")  # but heights, normals, parts of one
_ALIKE = 0.9  # correlation of two pictures at 16 x 16 from which on they are one
_SHORTEST = 128  # pixels of a texture's side
T = TypeVar("T")


def main() -> None:
    """Writes both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="where the packages were unpacked")
    parser.add_argument("folder", type=Path, help="where the sets go, one folder each")
    given = parser.parse_args()
    write_stamps(given.found / "usr/share/tuxpaint/stamps", given.folder / "stamps")
    games = given.found / "usr/share/games"
    archives = [games / "ufoai/base/0textures.pk3", games / "nexuiz/data/textures.pk3"]
    write_textures(archives, given.folder / "textures")


def write_stamps(stamps: Path, folder: Path) -> None:
    """Writes the files as they are, as `<split>/<kind>/<number>_<name>`.

    Args:
        stamps: the folder of stamps.
        folder: of the set.
    """
    for kind, folders in KINDS.items():
        files = sorted(file for each in folders for file in (stamps / each).rglob("*.png"))
        random.Random(kind).shuffle(files)
        n = min(int(len(files) * 0.6), 40)
        for split, some in split_of(files, n, max(len(files) // 6, 5), 40).items():
            for number, file in enumerate(some):
                into = folder / split / kind / f"{number}_{file.name}"
                into.parent.mkdir(parents=True, exist_ok=True)
                into.write_bytes(file.read_bytes())


def write_textures(archives: Sequence[Path], folder: Path) -> None:
    """Writes pictures whose name says one material, as `<split>/<material>/<number>.jpg`.

    Args:
        archives: zip files, the last of which counts where two have the same name.
        folder: of the set.
    """
    contents = {PurePosixPath(name): archive for archive in archives for name in zipfile.ZipFile(archive).namelist()}
    for material in MATERIALS:
        names = [name for name in sorted(contents) if _told(name) == [material]]
        read = [image for name in names if (image := _opened(contents[name], name))]
        images = unlike([image for image in read if min(image.size) >= _SHORTEST])
        print(f"{material}: {len(names)} files, {len(names) - len(read)} of them unreadable, {len(images)} pictures")
        random.Random(material).shuffle(images)
        for split, some in split_of(images, 28, 12, 30).items():
            for number, image in enumerate(some):
                into = folder / split / material / f"{number}.jpg"
                into.parent.mkdir(parents=True, exist_ok=True)
                image.save(into, quality=92)


def split_of(whole: Sequence[T], train: int, val: int, test: int) -> dict[str, Sequence[T]]:
    """The first for training, those behind it for validation, and then for the test."""
    rest = whole[train:]
    return {"train": whole[:train], "val": rest[:val], "test": rest[val : val + test]}


def unlike(images: Sequence[Image.Image]) -> list[Image.Image]:
    """Those that look like none before them, in grey at 16 x 16."""
    kept: list[tuple[Image.Image, np.ndarray]] = []
    for image in images:
        grey = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX), float).ravel()
        grey = (grey - grey.mean()) / (grey.std() + 1e-6)
        if all(grey @ other / grey.size < _ALIKE for _, other in kept):
            kept.append((image, grey))
    return [image for image, _ in kept]


def _told(name: PurePosixPath) -> list[str]:
    stem = name.stem.lower()
    if name.suffix.lower() not in (".jpg", ".png", ".tga") or _NO_PICTURE.search(stem):
        return []
    return [material for material in MATERIALS if material in stem]


def _opened(archive: Path, name: PurePosixPath) -> Image.Image | None:
    """The picture; None where no library reads it."""
    try:
        return Image.open(io.BytesIO(zipfile.ZipFile(archive).read(str(name)))).convert("RGB")
    except OSError:
        return None


if __name__ == "__main__":
    main()
