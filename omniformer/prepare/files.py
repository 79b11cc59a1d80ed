"""What a path is: a table, several of one set, a saved set of the library `datasets`, or folders of classes."""

import re
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from omniformer.data.folders import PICTURES, SOUNDS
from omniformer.data.source import SPLITS
from omniformer.data.table.opening import SUFFIXES
from omniformer.data.table.splits import SYNONYMS

Files = dict[str, str | list[str]]
_WRITTEN = re.compile(r"::| \+ |^(lines|conll|graphs):")  # as `data=table` takes what no single path says
_PIECE = re.compile(r"((?:lines|conll|graphs|molecules):)?(.+?)(::.*)?")


def files_of(path: str | Path) -> Files:
    """The files of a set, by the arguments of `Table`: `files`, or `train`, `val` and `test`.

    Args:
        path: a table, or several as `Table` takes them (`a.json::train`, `lines:a.en + lines:a.de`); a folder of
            tables, whose names may say their splits (`train.csv`, `test-00001.parquet`), or with a folder `data` of
            such; one of files whose lines belong together (`train.en`, `train.de`); one that `save_to_disk` wrote; or
            one of class folders.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is of another form; says which are read.
    """
    place = Path(path).expanduser()
    if not place.exists() and _WRITTEN.search(str(path)):
        return {"files": " + ".join(map(_absolute, str(path).split(" + ")))}
    if not place.exists():
        raise FileNotFoundError(f"there is no file or folder {str(path)!r}; give a table, or a folder of files")
    place = place.resolve()
    if place.is_file():
        if not _is_table(place):
            raise ValueError(f"{path} is none of {', '.join(SUFFIXES)}; unpack or convert it, or give its folder")
        return {"files": str(place)}
    if (place / "dataset_dict.json").is_file() or (place / "dataset_info.json").is_file():
        return {"files": f"hf:{place}"}
    tables = _tables(place) or _tables(place / "data")  # where a copy of a set of the hub has them
    if not tables:
        return _of_lines(place) or {"files": str(place)}
    folders = sorted(each.name for each in place.iterdir() if each.is_dir() and each.name[0] != ".")
    if len(folders) > 1:
        warnings.warn(
            f"{path} holds {tables[0].name}, which is taken for the table, beside the folders {', '.join(folders[:5])}"
            f"{', ...' if len(folders) > 5 else ''}; if these are the classes, move {tables[0].name} out of the folder",
            stacklevel=2,
        )
    return _of_tables(tables, place)


def _tables(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_file() and _is_table(each)) if folder.is_dir() else []


def _of_tables(tables: list[Path], folder: Path) -> Files:
    kinds = {each.name.partition(".")[2].lower() for each in tables}
    if len(kinds) > 1:
        raise ValueError(f"{folder} holds tables of several kinds, {', '.join(sorted(kinds))}; give one of them")
    return _by_split({each.name: str(each) for each in tables}, folder)


def _of_lines(folder: Path) -> Files | None:
    """Files of lines that belong together, `train.en` and `train.de`; None where there are others."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for each in sorted(each for each in folder.iterdir() if each.name[0] != "."):
        stem, _, ending = each.name.removesuffix(".gz").rpartition(".")
        if not stem or each.is_dir() or f".{ending.lower()}" in (*PICTURES, *SOUNDS):
            return None
        found[stem][ending] = f"lines:{each}"
    endings = {tuple(each) for each in found.values()}
    if len(endings) != 1 or len(*endings) < 2:
        return None
    return _by_split({stem: " + ".join(each.values()) for stem, each in found.items()}, folder)


def _by_split(named: Mapping[str, str], folder: Path) -> Files:
    """Tables by the splits that their names say; all of them together where none is called so."""
    splits = {name: SYNONYMS.get(re.split(r"[-_.]", name.lower())[0]) for name in named}
    if "train" not in splits.values():
        return {"files": list(named.values())}
    if others := [name for name, split in splits.items() if split is None]:
        raise ValueError(f"{folder} holds {others[0]} beside files that are named after splits; give one file")
    found = {split: [named[name] for name in named if splits[name] == split] for split in SPLITS}
    if not found["val"] and not found["test"]:
        return {"files": found["train"]}  # training alone is divided, as any table is
    return {split: each for split, each in found.items() if each}


def _absolute(piece: str) -> str:
    """One of several tables, so that it is found wherever one stands."""
    prefix, file, inner = _PIECE.fullmatch(piece.strip()).groups("")  # pyright: ignore[reportOptionalMemberAccess]
    return f"{prefix}{Path(file).expanduser().resolve()}{inner}"


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)
