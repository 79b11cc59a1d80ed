"""Time series in a table, cut into what was and what comes next."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from omniformer.core import checks
from omniformer.core.ranges import Count
from omniformer.data.download import obtain
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.sets.reading import text_in
from omniformer.data.source import SPLITS, Raw, Source, Split, own


class SeriesWindows(Source):
    r"""Windows of the rows of a CSV file, of each variable by itself: `look_back` values are given as a series, and the
    next `horizon` values are to be predicted (long-term forecasting as in
    [Zhou et al. 2021](https://arxiv.org/abs/2012.07436), variables apart as in PatchTST,
    [Nie et al. 2023](https://arxiv.org/abs/2211.14730)).

    Numbers are in units of a variable's deviation over the training rows, and less the last value that is given (as in
    NLinear, [Zeng et al. 2023](https://arxiv.org/abs/2205.13504)): 0 says that all stays as it is. The squared error is
    that of the usual protocol, which scales alike; of several variables it is the mean. A first window of validation
    and of test reaches back into the rows before, but what it is to predict does not.

    Args:
        file: the table, its first line the names; where one stands, or under `data_root`.
        rows: how many rows train, validate and test, one after the other from the first; rows behind them are left out.
        variables: names of columns; None for all whose first cell is a number.
        look_back: rows that are given.
        horizon: rows that are to be predicted.
        every: rows from one training window to the next; validation and test have a window at each row.
        data_root: the folder of data sets; None means the current folder.
        fetch: address and SHA-256 of the file, with a blank between, from where it may be fetched.
        download: fetch the file where it is missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a number is out of range, there are fewer rows, a part is too short for one window, or a cell is no
            finite number; names it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "loads.csv"
        ...     _ = file.write_text("day,load\n" + "".join(f"{i},{i % 4}\n" for i in range(30)))
        ...     source = SeriesWindows(file=str(file), rows=[20, 5, 5], variables=["load"], look_back=4, horizon=2)
        ...     first = source.split("test")[0]
        >>> first.id, first.contents["series"].shape, first.targets["value"].shape
        ('load/25', torch.Size([1, 4]), torch.Size([2]))
    """

    modalities = ("series",)

    def __init__(
        self,
        *,
        file: str,
        rows: Sequence[Count],
        variables: Sequence[str] | None = None,
        look_back: Count = 336,
        horizon: Count = 96,
        every: Count = 1,
        data_root: str | None = None,
        fetch: str | None = None,
        download: bool = False,
    ) -> None:
        if len(rows) != len(SPLITS):
            raise ValueError(f"rows={list(rows)} must be three numbers: of rows that train, validate and test")
        checks.counts(look_back=look_back, horizon=horizon, every=every)
        checks.counts(**{f"rows[{i}]": n for i, n in enumerate(rows)})
        shortest = {"train": look_back + horizon, "val": horizon, "test": horizon}
        for name, n in zip(SPLITS, rows, strict=True):
            if n < shortest[name]:
                raise ValueError(f"{n} rows of {name} are fewer than the {shortest[name]} of one window; lower horizon")
        self.rows, self.variables = tuple(rows), variables
        self.look_back, self.horizon, self.every = look_back, horizon, every
        path: Path = own(file, data_root)
        if fetch is not None and not path.is_file():
            url, sha256 = fetch.split()
            path = obtain(file, data_root=data_root, url=url, sha256=sha256, download=download)
        self.file = path

    def split(self, name: Split) -> Sequence[Raw]:
        """The windows of one split, variable by variable."""
        firsts = self._firsts(name)
        return OnAccess(len(firsts) * len(self._table[0]), _Windows(self, firsts))

    def baselines(self) -> Mapping[str, float]:
        """The error on test when all stays as it is."""
        firsts = self._firsts("test")
        squares = []
        for series in self._table[1].T:
            windows = series[firsts[0] - 1 : firsts[-1] + self.horizon].unfold(0, self.horizon + 1, 1)
            squares.append((windows[:, 1:] - windows[:, :1]).square().mean())
        return {"persistence_rmse": float(torch.stack(squares).mean().sqrt())}

    def _firsts(self, name: Split) -> range:
        """The first rows that are to be predicted."""
        train, val, test = self.rows
        begin = {"train": self.look_back, "val": train, "test": train + val}[name]
        end = {"train": train, "val": train + val, "test": train + val + test}[name]
        return range(begin, end - self.horizon + 1, self.every if name == "train" else 1)

    @cached_property
    def _table(self) -> tuple[list[str], Tensor]:
        """The names of variables, and their values `[rows, variables]` in units of their deviation in training."""
        if not self.file.is_file():
            raise FileNotFoundError(f"no file {str(self.file)!r}; give an existing CSV file, or set data_root")
        header, *lines = (line.split(",") for line in text_in(self.file).splitlines() if line)
        if len(lines) < sum(self.rows):
            raise ValueError(f"{self.file} has {len(lines)} rows, fewer than the {sum(self.rows)} of rows={self.rows}")
        names = list(self.variables or [name for name, cell in zip(header, lines[0], strict=True) if _number(cell)])
        if unknown := [name for name in names if name not in header]:
            raise ValueError(f"{self.file} has no column {unknown[0]!r}; it has {', '.join(header)}")
        if not names:
            raise ValueError(f"{self.file} has no column of numbers; it has {', '.join(header)}")
        places = [header.index(name) for name in names]
        values = np.empty((sum(self.rows), len(names)))
        for i, line in enumerate(lines[: len(values)]):
            for j, place in enumerate(places):
                cell = line[place] if place < len(line) else ""
                if not _number(cell):
                    raise ValueError(f"{self.file}, row {i + 1}, column {names[j]!r}: {cell!r} is no finite number")
                values[i, j] = float(cell)
        deviation = values[: self.rows[0]].std(0)
        deviation[deviation == 0] = 1.0
        return names, torch.from_numpy(values / deviation).float()


class _Windows:
    """Makes the sample of a number: its variable, and the row from which on it is to be predicted."""

    def __init__(self, source: SeriesWindows, firsts: range) -> None:
        self.source, self.firsts = source, firsts

    def __call__(self, number: int) -> Raw:
        names, values = self.source._table
        variable, place = divmod(number, len(self.firsts))
        first = self.firsts[place]
        series = values[first - self.source.look_back : first + self.source.horizon, variable]
        given, wanted = (series - series[self.source.look_back - 1]).split([self.source.look_back, self.source.horizon])
        return Raw(
            id=f"{names[variable]}/{first}", contents={"series": given[None].clone()}, targets={"value": wanted.clone()}
        )


def _number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False
