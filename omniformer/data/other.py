"""The configuration of a run with other data in the place of its own, to measure its model on them."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from omniformer.config import ConfigError
from omniformer.data.by_name import described, names
from omniformer.data.table.given import SUFFIXES
from omniformer.data.table.roles import roles_in


def with_data_root(config: Mapping[str, Any], data_root: str) -> dict[str, Any]:
    """The configuration of a run whose data now lie elsewhere: the key `data_root`, wherever it had the run's value.

    Example:
        >>> with_data_root({"data_root": "a", "data": {"source": {"data_root": "a"}}}, "b")
        {'data_root': 'b', 'data': {'source': {'data_root': 'b'}}}
    """
    return _moved(config, str(config["data_root"]), data_root)


def with_other_data(config: Mapping[str, Any], data: str) -> dict[str, Any]:
    """The configuration with the source of other samples; how they are read, arranged and batched stays.

    Args:
        config: of a run with one data set.
        data: a set by name (`conf/data`); or a table with the columns of the run's, but for those of split, group and
            id, whose rows take the place of its test split. Of the run's own table are the classes.

    Raises:
        ConfigError: it is neither, or the run learned from several data sets, or not from a table.

    Example:
        >>> run = {"data": {"source": {"columns": {"a": "text"}, "files": "old.csv"}}, "data_root": None}
        >>> with_other_data(run, "new.csv")["data"]["source"]["test"]
        'new.csv'
    """
    if config.get("members"):
        raise ConfigError(
            [f"--data {data}: the run learned from {', '.join(config['members'])}; only one set is replaced"]
        )
    changed = deepcopy(dict(config))
    if data in names():
        changed["data"]["source"] = described(data, data_root=config["data_root"])
        return changed
    if not data.lower().endswith(SUFFIXES):
        known = f"a known data set ({', '.join(names())}), or a table ({', '.join(SUFFIXES)})"
        raise ConfigError([f"--data: received {data!r}, accepted {known}"])
    table = _table(changed["data"])
    if table is None:
        raise ConfigError([f"--data {data} is a table, and the run learned from none; give a known data set by name"])
    if table.get("splits"):
        raise ConfigError(
            [f"--data {data}: the run's table is divided by conditions on its rows (splits); other rows cannot be told"]
        )
    table["columns"] = dict(_undivided(table["columns"]))
    table |= {key: value for key, value in {"folds": None, "fold": 0}.items() if key in table}
    table |= {"train": table.get("train") or table["files"], "files": None, "test": data}
    return changed


def _undivided(columns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The columns without that of the split, which would divide new rows too."""
    for name, role in columns.items():
        if kept := [each for each in roles_in(role) if each != "split"]:
            yield name, " and ".join(kept)


def _table(data: dict[str, Any]) -> dict[str, Any] | None:
    """The node of the table that a run learned from."""
    if isinstance(data.get("columns"), Mapping):
        return data
    inner = (_table(each) for each in data.values() if isinstance(each, dict))
    return next((found for found in inner if found is not None), None)


def _moved(value: Any, before: str, after: str) -> Any:
    """A configuration whose data lie elsewhere: the key `data_root`, wherever it stands."""
    if isinstance(value, list):
        return [_moved(each, before, after) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: after if key == "data_root" and str(each) == before else _moved(each, before, after)
        for key, each in value.items()
    }
