"""Pictures that packages bring become sets of classes: by folders, or by what names say, without such as look alike."""

import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omniformer.data import ImageFolder

PATH = Path(__file__).resolve().parents[2] / "scripts" / "write_found_sets.py"


@pytest.fixture(scope="module")
def found():
    spec = importlib.util.spec_from_file_location("write_found_sets", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(seed, size=(160, 128), form="PNG"):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(stream, form)
    return stream.getvalue()


def test_stamps_are_written_as_they_are_by_the_kinds_that_their_folders_are(found, tmp_path):
    for kind, folders in found.KINDS.items():
        for n in range(20):
            file = tmp_path / "stamps" / folders[n % len(folders)] / "deeper" / f"{kind}_{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(n))
    found.write_stamps(tmp_path / "stamps", tmp_path / "set")
    read = ImageFolder(root=str(tmp_path / "set"))
    assert set(read.labels) == set(found.KINDS)
    assert [len(read.split(split)) for split in ("train", "val", "test")] == [12 * 7, 5 * 7, 3 * 7]
    files = list((tmp_path / "set").rglob("*.png"))
    assert all(f"/{file.name.split('_')[1]}/" in str(file) for file in files)
    assert {file.read_bytes() for file in files} == {picture(n) for n in range(20)}


def test_textures_are_of_the_material_that_their_name_alone_says(found, tmp_path, capsys):
    names = ["old_wood1.png", "WOOD2.jpg", "wood_metal.png", "wood_nm.png", "wood.txt", "brick.png", "small_rock.png"]
    with zipfile.ZipFile(tmp_path / "a.pk3", "w") as archive:
        for n, name in enumerate(names):
            archive.writestr(f"textures/{name}", picture(n, (100, 200) if "small" in name else (160, 128)))
        archive.writestr("textures/wood9.png", b"no picture")
    found.write_textures([tmp_path / "a.pk3"], tmp_path / "set")
    written = [str(file.relative_to(tmp_path / "set").parent) for file in sorted((tmp_path / "set").rglob("*.jpg"))]
    assert written == ["train/brick", "train/wood", "train/wood"]
    assert "wood: 3 files, 1 of them unreadable, 2 pictures" in capsys.readouterr().out


def test_of_pictures_that_look_alike_the_first_is_kept(found):
    one, other = (Image.open(io.BytesIO(picture(seed))) for seed in (0, 1))
    again = one.resize((320, 256), Image.Resampling.NEAREST).point([value // 2 + 60 for value in range(256)] * 3)
    assert found.unlike([one, again, other]) == [one, other]
