"""Sets of the Hugging Face library `datasets`: saved folders, read without it, and sets by name."""

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omniformer.data.source import Split
from omniformer.data.table.columnar import MappedRows, class_names_in, holds_files, listed
from omniformer.data.table.rows import BadRowError, Joined, Row, Rows
from omniformer.data.table.splits import SYNONYMS

PREFIX = "hf:"


class HubRows(Rows):
    """One split of a set that the library has loaded; rows are read from its files when they are asked for.

    Args:
        dataset: a `datasets.Dataset`.
        file: what it is called.
    """

    def __init__(self, dataset: Any, file: str) -> None:
        self.dataset, self.file, self.name = dataset.with_format("arrow"), file, file

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.dataset.column_names)

    def __len__(self) -> int:
        return len(self.dataset)

    def row(self, index: int) -> Row:
        return self.dataset[index : index + 1].to_pylist()[0]

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        chosen = self.dataset.select_columns(list(columns))
        for start in range(0, len(chosen), 1024):
            yield from listed(chosen[start : start + 1024])

    def heavy(self) -> frozenset[str]:
        return holds_files(self.dataset.features.arrow_schema)

    def class_names(self, column: str) -> tuple[str, ...]:
        return names_of(self.dataset.features, column)


def hub_rows(name: str, *, config: str | None, download: bool) -> dict[Split | None, Rows]:
    """The splits of a set: a folder that `save_to_disk` wrote, or a name on the hub. None is a set without splits.

    Args:
        name: the folder or the name, without `hf:`.
        config: which of the set's configurations, where there are several.
        download: whether the library may fetch a set by name.

    Raises:
        FileNotFoundError: there is no such folder, and `download` is off.
        ImportError: a set by name, and the library is not installed.
        ValueError: it cannot be read; names it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _saved(folder)
    if not download:
        raise FileNotFoundError(
            f"no folder {str(folder)!r}; {PREFIX}{name} is fetched from the hub with download=true, or give a folder "
            "that save_to_disk of the library datasets has written"
        )
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"{PREFIX}{name} is loaded by the library datasets, which is not installed: pip install datasets"
        ) from error
    try:
        found = datasets.load_dataset(name, config)
    except Exception as error:  # of many kinds, of the hub, of files and of the library
        raise ValueError(f"{PREFIX}{name} cannot be loaded: {' '.join(str(error).split())}") from error
    return _by_split({str(key): HubRows(rows, f"{PREFIX}{name}, {key}") for key, rows in found.items()}, name)


def _saved(folder: Path) -> dict[Split | None, Rows]:
    folders = saved_folders(folder)
    if None in folders:
        return {None: _of_folder(folder)}
    return _by_split({str(name): _of_folder(each) for name, each in folders.items()}, str(folder))


def saved_folders(folder: Path) -> dict[str | None, Path]:
    """The folders of the splits that `save_to_disk` wrote, by their names there; None is a set without splits.

    Raises:
        ValueError: what names the splits is damaged, or leads elsewhere.
    """
    if not (folder / "dataset_dict.json").is_file():
        return {None: folder}
    names = _json(folder / "dataset_dict.json").get("splits", [])
    if wrong := [name for name in names if not isinstance(name, str) or Path(name).name != name or name == ".."]:
        raise ValueError(f"{folder / 'dataset_dict.json'}: {wrong[0]!r} is not the name of a split")
    return {name: folder / name for name in names}


def _of_folder(folder: Path) -> Rows:
    files = saved_files(folder)
    names = saved_names(folder)
    parts = [MappedRows(file, names) for file in files]
    return parts[0] if len(parts) == 1 else Joined(parts, str(folder))


def saved_files(folder: Path) -> list[Path]:
    """The files of one split that `save_to_disk` wrote.

    Raises:
        ValueError: there are none.
    """
    if files := sorted(folder.glob("data-*.arrow")) or sorted(folder.glob("*.arrow")):
        return files
    raise ValueError(
        f"{folder} holds no .arrow files; give a folder that save_to_disk has written, or tables by a pattern without "
        f"{PREFIX}, {folder}/*.parquet"
    )


def saved_names(folder: Path) -> dict[str, tuple[str, ...]]:
    """What the class numbers of its columns stand for."""
    info = folder / "dataset_info.json"
    return class_names_in(_json(info).get("features", {})) if info.is_file() else {}


def names_of(features: Any, column: str) -> tuple[str, ...]:
    """The classes of a column, or of the lists in it, as the library describes it."""
    feature = (features or {}).get(column)
    return tuple(getattr(getattr(feature, "feature", feature), "names", ()) or ())


def _by_split(rows: dict[str, Rows], name: str) -> dict[Split | None, Rows]:
    if len(rows) == 1:
        return {None: next(iter(rows.values()))}  # a set without splits, which the library calls train
    found: dict[Split | None, Rows] = {SYNONYMS[key]: each for key, each in rows.items() if key in SYNONYMS}
    if "train" not in found:
        raise ValueError(f"{PREFIX}{name} has the splits {', '.join(rows)}, and none for training")
    if others := [key for key in rows if key not in SYNONYMS]:
        warnings.warn(
            f"{PREFIX}{name}: its splits {', '.join(others)} are left out; a run has train, val, test", stacklevel=2
        )
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no object")
    return found
