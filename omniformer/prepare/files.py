"""What a path is: a table, several of one set, a saved set of the library `datasets`, or folders of classes."""

import re
import warnings
from pathlib import Path

from omniformer.data.source import SPLITS
from omniformer.data.table.opening import SUFFIXES
from omniformer.data.table.splits import SYNONYMS

Files = dict[str, str | list[str]]


def files_of(path: str | Path) -> Files:
    """The files of a set, by the arguments of `Table`: `files`, or `train`, `val` and `test`.

    Args:
        path: a table; a folder of tables, whose names may say their splits (`train.csv`, `test-00001.parquet`); a
            folder that `save_to_disk` wrote; or a folder of class folders.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is of another form; says which are read.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise FileNotFoundError(f"there is no file or folder {str(path)!r}; give a table, or a folder of files")
    place = place.resolve()
    if place.is_file():
        if not _is_table(place):
            raise ValueError(f"{path} is none of {', '.join(SUFFIXES)}; unpack or convert it, or give its folder")
        return {"files": str(place)}
    if (place / "dataset_dict.json").is_file() or (place / "dataset_info.json").is_file():
        return {"files": f"hf:{place}"}
    tables = sorted(each for each in place.iterdir() if each.is_file() and _is_table(each))
    if not tables:
        return {"files": str(place)}
    folders = sorted(each.name for each in place.iterdir() if each.is_dir() and each.name[0] != ".")
    if len(folders) > 1:
        warnings.warn(
            f"{path} holds {tables[0].name}, which is taken for the table, beside the folders {', '.join(folders[:5])}"
            f"{', ...' if len(folders) > 5 else ''}; if these are the classes, move {tables[0].name} out of the folder",
            stacklevel=2,
        )
    return _of_tables(tables, place)


def _of_tables(tables: list[Path], folder: Path) -> Files:
    kinds = {each.name.partition(".")[2].lower() for each in tables}
    if len(kinds) > 1:
        raise ValueError(f"{folder} holds tables of several kinds, {', '.join(sorted(kinds))}; give one of them")
    splits = {each: SYNONYMS.get(re.split(r"[-_.]", each.name.lower())[0]) for each in tables}
    if "train" not in splits.values():
        return {"files": [str(each) for each in tables]}
    if others := [each.name for each, split in splits.items() if split is None]:
        raise ValueError(f"{folder} holds {others[0]} beside files that are named after splits; give one file")
    named = {split: [str(each) for each in tables if splits[each] == split] for split in SPLITS}
    return {split: found for split, found in named.items() if found}


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)
