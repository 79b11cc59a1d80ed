"""One large graph out of two tables: its nodes and its edges."""

import glob
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omniformer.core.ranges import BelowOne
from omniformer.data.finding import matching_files
from omniformer.data.graph_arrays import EDGES, graph_columns
from omniformer.data.planetoid import PREFIX, planetoid_columns
from omniformer.data.sets.arrays import read_arrays
from omniformer.data.source import SPLITS, Raw, Source, Split, own, set_name
from omniformer.data.splitting import hashed_split
from omniformer.data.table.opening import SUFFIXES, Opener
from omniformer.data.table.roles import cell
from omniformer.data.table.rows import BadRowError
from omniformer.data.table.splits import SYNONYMS
from omniformer.data.table.targets import class_of, in_order, number

Columns = dict[str, Any]  # a list of cells for each, or an array `[rows, ...]`
_SHOWN = 10


class GraphTables(Source):
    r"""A graph whose nodes are the rows of one table and whose edges those of another: for the classes of nodes, and
    for edges that are to be found.

    Tables are those that `Table` reads, or `.npz`, whose arrays are the columns, sparse ones and numbers of nodes by
    split among them (`graph_columns`). Every split is the same graph;
    `token_targets["mask"]` says which nodes count in it. A node without a class counts nowhere, and is seen.

    Args:
        nodes: the table of nodes; `planetoid:cora/Cora` is a folder of PyG's class `Planetoid`. Of `a | b` the first
            that is there.
        edges: the table of edges. Of `.npz` also one array `edge_index`, `[2, edges]`. None takes the file of nodes.
        data_root: where data lies on this machine; None means the current folder alone.
        node_id: the column that names a node; where there is none, edges give numbers of rows, from 0.
        label: the column of the class of a node; None for a graph whose nodes have none.
        labels: names of the classes, where cells are their numbers from 0; None takes what cells say.
        split: the column of `train`, `val` and `test`, where there is one; an empty cell counts nowhere. Otherwise
            nodes are split by the hashes of their names, each class alike.
        features: the columns of numbers that a node has; None takes all columns beside the others.
        ends: the columns of the two ends of an edge.
        edge_features: the columns of numbers that an edge has, such as a weight; None for no numbers.
        val: the share of validation, where nodes are split by hash.
        test: the share of test.
        ids: how the graph of a split is called, `cora/{split}`; None calls it by the file of nodes.
        row_normalise: divide the features of each node by their sum, as Kipf and Welling (2017) do with words.
        identity: give each node the number of its row as a category in the place of numbers, of which a vector is
            learned, as Kipf and Welling (2017) do where nodes have no numbers: their place alone tells few apart.
        download: whether `planetoid:` may be fetched by PyG.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a column that is not there; cells that are no numbers, ends that are no nodes, nodes that are there
            twice: all at once, each with its row; `identity` beside numbers of nodes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nodes, edges = Path(folder) / "nodes.csv", Path(folder) / "edges.csv"
        ...     _ = nodes.write_text("id,label,age\nann,red,31\nbob,blue,40\neve,red,25\n")
        ...     _ = edges.write_text("source,target\nann,bob\n")
        ...     graph = GraphTables(nodes=str(nodes), edges=str(edges), val=0, test=0)
        ...     graph.split("train")[0].contents["graph"]["edges"].tolist(), graph.labels
        ([[0, 1]], ('blue', 'red'))
    """

    modalities = ("graph",)

    def __init__(
        self,
        *,
        nodes: str,
        edges: str | None = None,
        data_root: str | None = None,
        node_id: str = "id",
        label: str | None = "label",
        labels: list[str] | None = None,
        split: str = "split",
        features: list[str] | None = None,
        ends: tuple[str, str] = ("source", "target"),
        edge_features: list[str] | None = None,
        val: BelowOne = 0.1,
        test: BelowOne = 0.1,
        ids: str | None = None,
        row_normalise: bool = False,
        identity: bool = False,
        download: bool = False,
    ) -> None:
        if identity and (features or row_normalise):
            raise ValueError(
                f"identity=true with features={features} and row_normalise={row_normalise}: a node is told by the "
                "number of its row or by numbers of its own; leave the first or the others out"
            )
        self.identity = identity
        self.nodes = _place(nodes, data_root)
        self.edges = self.nodes if edges is None else _place(edges, data_root)
        self.class_names, self.ids = None if labels is None else tuple(map(str, labels)), ids
        self.row_normalise, self.download = row_normalise, download
        self.node_id, self.label, self.split_column = node_id, label, split
        self.features, self.edge_features, self.ends = features, edge_features, tuple(ends)
        self.val, self.test = val, test

    @property
    def name(self) -> str:
        """The name of the data set, for messages: what it is called by, where that is said."""
        return set_name(self.ids) or super().name

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of nodes, as they were named, or by name in order."""
        return self.class_names or in_order(each for each in self._classes if each is not None)

    @property
    def facts(self) -> dict[str, Any]:
        """The number of classes, and of the numbers that a node and an edge have."""
        graph = self._graph
        widths = {name: graph[name].shape[1] for name in ("node_features", "edge_features") if name in graph}
        if self.identity:
            widths = {**widths, "node_features": 0, "node_vocab_sizes": (len(self._names),)}
        return {**super().facts, **widths}

    def split(self, name: Split) -> Sequence[Raw]:
        """The graph, with the mask of one split; empty where no node counts in it."""
        called = f"{self.nodes.name}/{name}" if self.ids is None else self.ids.format(split=name)
        if self.label is None:
            return [Raw(id=called, contents={"graph": self._graph})]
        mask = self._masks[name]
        number_of = {label: i for i, label in enumerate(self.labels)}
        of_nodes = torch.tensor([0 if each is None else number_of[each] for each in self._classes])
        targets = {"label": of_nodes, "mask": mask}
        raw = Raw(id=called, contents={"graph": self._graph}, token_targets=targets)
        return [raw] if mask.any() else []

    def baselines(self) -> Mapping[str, float]:
        """What the most frequent class of training scores on the nodes of the test split."""
        if self.label is None or not self._masks["test"].any():
            return {}
        classes = self.split("train")[0].token_targets["label"]
        often = classes[self._masks["train"]].bincount().argmax()
        return {"majority_accuracy": float((classes[self._masks["test"]] == often).double().mean())}

    @cached_property
    def _columns(self) -> tuple[Columns, Columns]:
        nodes, edges = columns_of(self.nodes, download=self.download), None
        edges = nodes if self.edges == self.nodes else columns_of(self.edges, download=self.download)
        return {name: cells for name, cells in nodes.items() if name != EDGES}, edges

    @cached_property
    def _names(self) -> list[str]:
        nodes = self._columns[0]
        names = [str(each) for each in nodes.get(self.node_id, range(_length(nodes)))]
        first: dict[str, int] = {}
        again = [i for i, name in enumerate(names) if first.setdefault(name, i) != i]
        _refuse([f"{self.nodes}, row {i + 1}: {names[i]!r} is there again" for i in again])
        return names

    @cached_property
    def _classes(self) -> list[str | None]:
        if self.label is None:
            return []
        cells = _cells(self._columns[0], self.label, self.nodes, instead="label, null where nodes have no class")
        named = self.class_names or ()
        try:
            return [None if each is None or each == "" else class_of(each, named) for each in cells]
        except ValueError as error:
            raise ValueError(f"{self.nodes}, column {self.label!r}: {error}") from error

    @cached_property
    def _masks(self) -> dict[Split, Tensor]:
        known = [i for i, each in enumerate(self._classes) if each is not None]
        if self.split_column in self._columns[0]:
            where: list[Split | None] = _splits(_cells(self._columns[0], self.split_column, self.nodes), self.nodes)
            chosen: dict[Split, list[int]] = {name: [i for i in known if where[i] == name] for name in SPLITS}
        else:
            kinds = [self._classes[i] for i in known]
            parts = hashed_split([self._names[i] for i in known], val=self.val, test=self.test, strata=kinds)
            chosen = {name: [known[i] for i in parts[name]] for name in SPLITS}
        if not chosen["train"]:
            raise ValueError(f"{self.nodes}: no node with a class is for training, of {len(self._names)}")
        masks: dict[Split, Tensor] = {}
        for name in SPLITS:
            masks[name] = torch.zeros(len(self._names), dtype=torch.bool)
            masks[name][chosen[name]] = True
        return masks

    @cached_property
    def _graph(self) -> dict[str, Any]:
        nodes, edges = self._columns
        problems: list[str] = []
        place = {name: i for i, name in enumerate(self._names)}
        ends = np.array([list(self._end(edges, which, place, problems)) for which in (0, 1)], dtype=np.int64)
        beside = {self.node_id, self.label, self.split_column}
        of_nodes = self.features if self.features is not None else [name for name in nodes if name not in beside]
        of_nodes = [] if self.identity else of_nodes
        found = {
            "node_features": _numbers(nodes, of_nodes, self.nodes, "features", problems),
            "edge_features": _numbers(edges, self.edge_features or [], self.edges, "edge_features", problems),
        }
        _refuse(problems)
        if self.identity:
            found["node_features"] = torch.arange(len(self._names))[:, None]
        if self.row_normalise and (values := found["node_features"]) is not None:
            found["node_features"] = values / values.sum(1, keepdim=True).clamp(min=1)
        graph = {"n_nodes": len(self._names), "edges": torch.from_numpy(ends).T.contiguous()}
        return graph | {name: values for name, values in found.items() if values is not None}

    def _end(self, edges: Columns, which: int, place: Mapping[str, int], problems: list[str]) -> Iterator[int]:
        """The numbers of the nodes at one end of each edge."""
        both = edges.get(EDGES)
        cells = both[which] if both is not None else _cells(edges, self.ends[which], self.edges, instead="ends")
        for row, each in enumerate(cells, start=1):
            if (found := place.get(str(each))) is None:
                problems.append(f"{self.edges}, row {row}: {str(each)!r} is no node of {self.nodes.name}")
            yield -1 if found is None else found


def _place(names: str, data_root: str | None) -> Path:
    """The first of several tables that is there; of `planetoid:` the folder, which need not be."""
    choices = [name.strip() for name in names.split("|")]
    for name in choices[:-1]:
        if (file := own(name, data_root)).is_file():
            return file
    if (last := choices[-1]).startswith(PREFIX):
        return own(last.removeprefix(PREFIX), data_root)
    return matching_files(last, data_root, (*SUFFIXES, ".npz"))[0]


def columns_of(file: Path, *, download: bool = False) -> Columns:
    """All columns of a table, or all arrays of a file of them, see `graph_columns`.

    Args:
        file: the table; what has no suffix is a folder of `planetoid:`.
        download: whether that may be fetched.

    Raises:
        ValueError: it cannot be read, or rows of it; names them.
    """
    if file.suffix == ".npz":
        try:
            with zipfile.ZipFile(file) as packed:
                names = [name.removesuffix(".npy") for name in packed.namelist()]
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(f"{file} cannot be read as npz: {error}") from error
        return graph_columns(read_arrays(file, names), file)
    if not file.suffix:
        return graph_columns(planetoid_columns(file, download=download), file)
    opener = Opener(data_root=None, delimiter=None, quotes=None, names=None, config=None, download=False)
    rows, _ = opener.open({None: glob.escape(str(file))})
    broken = [str(error) for error in rows.wrong]
    columns: Columns = {name: [] for name in rows.columns}
    for row in rows.each(rows.columns):
        if isinstance(row, BadRowError):
            broken.append(str(row))
            continue
        for name, cells in columns.items():
            cells.append(cell(row, name))
    _refuse(broken)
    return columns


def _length(columns: Columns) -> int:
    return max((len(cells) for cells in columns.values()), default=0)


def _cells(columns: Columns, name: str, file: Path, *, instead: str = "split") -> list[Any]:
    """The cells of a column as plain values.

    Raises:
        ValueError: it is not there.
    """
    if name not in columns:
        raise ValueError(f"{file} has no column {name!r}, but {', '.join(columns)}; name it with {instead}")
    found = columns[name]
    return found.tolist() if isinstance(found, np.ndarray) else found


def _numbers(columns: Columns, names: Sequence[str], file: Path, argument: str, problems: list[str]) -> Tensor | None:
    """Columns of numbers as one table, float32 `[rows, numbers]`; None where there are none."""
    found: list[NDArray] = []
    for name in names:
        cells = columns.get(name)
        if isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf":
            values = cells.reshape(len(cells), -1).astype(np.float32)
        else:
            values = np.array([list(_floats(_cells(columns, name, file, instead=argument), name, file, problems))]).T
        if bad := np.flatnonzero(~np.isfinite(values).all(1)).tolist():
            problems += [f"{file}, row {i + 1}, column {name!r}: no number" for i in bad]
        found.append(values)
    if problems or not found:
        return None
    if len({len(values) for values in found}) > 1:
        raise ValueError(f"{file}: columns {', '.join(names)} differ in length; {argument} names those of rows")
    return torch.from_numpy(np.concatenate(found, axis=1).astype(np.float32))


def _floats(cells: Sequence[Any], name: str, file: Path, problems: list[str]) -> Iterator[float]:
    for row, each in enumerate(cells, start=1):
        try:
            yield number(each)
        except ValueError as error:
            problems.append(f"{file}, row {row}, column {name!r}: {error}")
            yield 0.0


def _splits(cells: Sequence[Any], file: Path) -> list[Split | None]:
    """The split that each cell names; an empty one none."""
    words = ["" if each is None else str(each).strip().lower() for each in cells]
    _refuse(
        [
            f"{file}, row {row}: {word!r} is not the name of a split; known are {', '.join(SYNONYMS)}"
            for row, word in enumerate(words, start=1)
            if word and word not in SYNONYMS
        ]
    )
    return [SYNONYMS.get(word) for word in words]


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError(f"{len(problems)} problem(s): {'; '.join(problems[:_SHOWN])}{more}; repair them")
