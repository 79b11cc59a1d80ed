"""Two sets of small molecules, each a yes-no question: MUTAG and NCI1."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from omniformer.core.ranges import Natural
from omniformer.data.download import obtain
from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.graphs_npz import PackedGraphs
from omniformer.data.source import Raw, Source, Split, resolve

FOLDS = 10
NODE_LABELS = {"MUTAG": 7, "NCI1": 37}
LABELS = {"MUTAG": ("not mutagenic", "mutagenic"), "NCI1": ("0", "1")}
PACKED = "tudataset/{dataset}.npz"
# The repository's own files, laid out as there: data/<dataset>/<dataset>.txt and data/<dataset>/10fold_idx/*.txt.
ORIGINAL = "tudataset/{dataset}/{file}"
URL = (
    "https://raw.githubusercontent.com/muhanzhang/pytorch_DGCNN/50f504131ca66382f3f078ae98e59aa3ae35b795/"
    "data/{dataset}/{file}"
)
_ARRAYS = ("y", "node_label", "node_ptr", "edge_index", "edge_ptr", "test_fold")


class TUGraphs(Source):
    """Whole graphs in two classes, in the ten folds of
    [DGCNN](https://github.com/muhanzhang/pytorch_DGCNN) (Zhang et al. 2018).

    MUTAG ([Debnath et al. 1991](https://doi.org/10.1021/jm00106a046)): 188 molecules, are they mutagenic? NCI1
    ([Wale et al. 2008](https://doi.org/10.1007/s10115-007-0103-5)): 4,110 molecules, are they active against lung
    cancer cells? A node is an atom with its kind (7 and 37 kinds) as a category; edges come in both directions and have
    no features. Published scores are the mean over ten runs, one a fold.

    Read is `tudataset/<dataset>.npz`, or else the files of the DGCNN repository in `tudataset/<dataset>`, which are
    what is fetched: PyG's class `TUDataset` has the same molecules in another order and with other numbers for the
    kinds of atoms, so that the folds do not fit it (for it, see `data=pyg_dataset`). Classes and kinds are numbered by
    the order of the numbers in the file, edges are sorted, and both routes give the same samples.

    Args:
        dataset: which of the two.
        data_root: the folder in which `tudataset` lies; None means the current folder.
        download: fetch the files of the repository where there are none.
        fold: this fold tests, the next one validates (0 follows 9), and the others train, together with the eight
            graphs of MUTAG that are in no fold.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ValueError: no such data set or fold, a file that cannot be read, arrays that do not fit; names file and graph.

    Example:
        >>> TUGraphs(dataset="MUTAG", fold=3).labels
        ('not mutagenic', 'mutagenic')
    """

    modalities = ("graph",)

    def __init__(
        self,
        *,
        dataset: Literal["MUTAG", "NCI1"] = "MUTAG",
        data_root: str | None = None,
        download: bool = False,
        fold: Natural = 0,
    ) -> None:
        if dataset not in NODE_LABELS:
            raise ValueError(f"dataset={dataset!r} is not known; choose MUTAG or NCI1")
        if not 0 <= fold < FOLDS:
            raise ValueError(f"fold={fold} is not one of the ten folds 0..{FOLDS - 1}")
        self.dataset = dataset
        self.data_root = data_root
        self.download = download
        self.fold = fold

    @property
    def name(self) -> str:
        """The name of the data set, for messages."""
        return self.dataset

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets; those of NCI1 are their numbers."""
        return LABELS[self.dataset]

    @property
    def facts(self) -> dict[str, Any]:
        """The number of classes, and of kinds of atoms."""
        return {"n_classes": len(self.labels), "node_vocab_sizes": (NODE_LABELS[self.dataset],)}

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in the order of the file."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        graphs, labels, folds = self._read()
        splits: dict[Split, list[Raw]] = {"train": [], "val": [], "test": []}
        parts: dict[int, Split] = {self.fold: "test", (self.fold + 1) % FOLDS: "val"}
        for index in range(len(graphs)):
            name = parts.get(folds[index], "train")
            splits[name].append(
                Raw(
                    id=f"tudataset/{self.dataset}/{name}/{index}",
                    contents={"graph": graphs.graph(index)},
                    targets={"label": labels[index]},
                )
            )
        return splits

    def _read(self) -> tuple[PackedGraphs, torch.Tensor, list[int]]:
        """The graphs, their classes, and the fold that each is in; -1 for none."""
        where = resolve(PACKED.format(dataset=self.dataset), self.data_root)
        if where.is_file():
            arrays = read_arrays(where, _ARRAYS)
        else:
            where = self._obtain(f"{self.dataset}.txt")
            arrays = _arrays(where)
            tests = [self._obtain(f"10fold_idx/test_idx-{fold + 1}.txt") for fold in range(FOLDS)]
            arrays["test_fold"] = _folds(tests, len(arrays["y"]))
        graphs = PackedGraphs(
            where=where,
            node_ptr=arrays["node_ptr"],
            edge_ptr=arrays["edge_ptr"],
            edge_index=arrays["edge_index"],
            node_features=arrays["node_label"].reshape(-1, 1),
            node_vocab_sizes=(NODE_LABELS[self.dataset],),
        )
        labels, folds = arrays["y"], arrays["test_fold"]
        if len(labels) != len(graphs) or len(folds) != len(graphs):
            raise ValueError(
                f"{where}: y has {len(labels)} and test_fold {len(folds)} entries for {len(graphs)} graphs"
            )
        for name, numbers, least, most in (("label", labels, 0, 1), ("test fold", folds, -1, FOLDS - 1)):
            outside = (numbers < least) | (numbers > most)
            if outside.any():
                graph = int(outside.argmax())
                raise ValueError(f"{where}: graph {graph} has the {name} {numbers[graph]}; expected {least}..{most}")
        return graphs, torch.from_numpy(labels.astype(np.int64)), folds.astype(np.int64).tolist()

    def _obtain(self, file: str) -> Path:
        names = {"dataset": self.dataset, "file": file}
        path, url = ORIGINAL.format(**names), URL.format(**names)
        return obtain(path, data_root=self.data_root, url=url, download=self.download)


def _arrays(file: Path) -> dict[str, NDArray]:
    """The graphs of a text file: their number, then for each graph `nodes class` and a line `kind degree neighbours...`
    for each node.
    """
    kinds, classes, ends = [], [], []
    node_ptr, edge_ptr = [0], [0]
    lines = _lines(file)
    (n_graphs,) = _row(lines, file, "the number of graphs", 1)
    for graph in range(n_graphs):
        n_nodes, label = _row(lines, file, f"the nodes and the class of graph {graph}", 2)
        classes.append(label)
        first = len(kinds)
        for node in range(n_nodes):
            kind, degree, *neighbours = _row(lines, file, f"node {node} of graph {graph}", 2, more=True)
            if len(neighbours) != degree:
                raise ValueError(
                    f"{file}: node {node} of graph {graph} announces {degree} neighbours and names {len(neighbours)}"
                )
            kinds.append(kind)
            ends += [(first + node, first + other) for other in sorted(neighbours)]
        node_ptr.append(len(kinds))
        edge_ptr.append(len(ends))
    return {
        "y": np.unique(classes, return_inverse=True)[1],
        "node_label": np.unique(kinds, return_inverse=True)[1],
        "node_ptr": np.array(node_ptr),
        "edge_ptr": np.array(edge_ptr),
        "edge_index": np.array(ends, dtype=np.int64).reshape(-1, 2).T,
    }


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="ascii", errors="replace") as lines:
        yield from lines


def _row(lines: Iterator[str], file: Path, what: str, least: int, *, more: bool = False) -> list[int]:
    """The next line as whole numbers: so many, or at least so many."""
    line = next(lines, "")
    try:
        numbers = [int(word) for word in line.split()]
    except ValueError:
        numbers = []
    if len(numbers) < least or (len(numbers) > least and not more):
        raise ValueError(f"{file}: expected {what} as {least} whole numbers, received {line.strip()[:60]!r}")
    return numbers


def _folds(files: Sequence[Path], n_graphs: int) -> NDArray:
    """The fold in whose test list each graph stands; -1 for none."""
    folds = np.full(n_graphs, -1)
    for fold, file in enumerate(files):
        for line in _lines(file):
            if line.strip():
                try:
                    graph = int(line)
                except ValueError as error:
                    raise ValueError(f"{file}: {line.strip()[:60]!r} is not the number of a graph") from error
                if not 0 <= graph < n_graphs or folds[graph] >= 0:
                    raise ValueError(f"{file}: graph {graph} is not one of 0..{n_graphs - 1}, or in two test folds")
                folds[graph] = fold
    return folds
