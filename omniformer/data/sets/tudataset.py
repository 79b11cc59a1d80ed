"""Two sets of small molecules, each a yes-no question: MUTAG and NCI1."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from omniformer.core.ranges import Natural
from omniformer.data.download import obtain
from omniformer.data.sets.reading import lines_in, text_in
from omniformer.data.source import own
from omniformer.data.table import Table
from omniformer.data.table.beside import Beside
from omniformer.data.table.columnar import ArrowRows
from omniformer.data.table.rows import Rows

FOLDS = 10
KINDS = {"MUTAG": 7, "NCI1": 37}  # of atoms
LABELS = {"MUTAG": ("not mutagenic", "mutagenic"), "NCI1": ("0", "1")}
# The repository's own files, laid out as there: data/<dataset>/<dataset>.txt and data/<dataset>/10fold_idx/*.txt.
ORIGINAL = "tudataset/{dataset}/{file}"
URL = (
    "https://raw.githubusercontent.com/muhanzhang/pytorch_DGCNN/50f504131ca66382f3f078ae98e59aa3ae35b795/"
    "data/{dataset}/{file}"
)


class TUGraphs(Table):
    """Whole graphs in two classes, in the ten folds of
    [DGCNN](https://github.com/muhanzhang/pytorch_DGCNN) (Zhang et al. 2018): a table over `tudataset/<dataset>.npz`, or
    else over the text files of the DGCNN repository in `tudataset/<dataset>`; both give the same samples.

    MUTAG ([Debnath et al. 1991](https://doi.org/10.1021/jm00106a046)): 188 molecules, are they mutagenic? NCI1
    ([Wale et al. 2008](https://doi.org/10.1007/s10115-007-0103-5)): 4,110 molecules, are they active against lung
    cancer cells? A node is an atom with its kind (7 and 37 kinds) as a category; edges come in both directions and have
    no features. PyG's class `TUDataset` has the same molecules in another order, which the folds do not fit (for
    it, see `data=pyg_dataset`).

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

    def __init__(
        self,
        *,
        dataset: Literal["MUTAG", "NCI1"] = "MUTAG",
        data_root: str | None = None,
        download: bool = False,
        fold: Natural = 0,
    ) -> None:
        if dataset not in LABELS:
            raise ValueError(f"dataset={dataset!r} is not known; choose MUTAG or NCI1")
        if not 0 <= fold < FOLDS:
            raise ValueError(f"fold={fold} is not one of the ten folds 0..{FOLDS - 1}")
        self.dataset = dataset
        packed, text = f"tudataset/{dataset}.npz", ORIGINAL.format(dataset=dataset, file=f"{dataset}.txt")
        super().__init__(
            files=packed if own(packed, data_root).is_file() else f"graphs:{text}",
            columns={"graph": "graph", "y": "label"},
            labels={str(number): name for number, name in enumerate(LABELS[dataset])},
            splits={"test": f"test_fold == {fold}", "val": f"test_fold == {(fold + 1) % FOLDS}"},
            ids=f"tudataset/{dataset}/{{split}}/{{row}}",
            fetch={text: URL.format(dataset=dataset, file=f"{dataset}.txt")},
            data_root=data_root,
            download=download,
        )

    @property
    def name(self) -> str:
        """The name of the data set, for messages."""
        return self.dataset

    @property
    def facts(self) -> Mapping[str, Any]:
        """The number of classes and of kinds of atoms, which are known before a file is read."""
        return {"n_classes": len(self.labels), "node_vocab_sizes": (KINDS[self.dataset],)}

    def completed(self, rows: Rows) -> Rows:
        """The rows, and the fold in which each tests; the repository keeps those in files of their own."""
        if "test_fold" in rows.columns:
            return rows
        files = (f"10fold_idx/test_idx-{number + 1}.txt" for number in range(FOLDS))
        folds = _folds([self._obtain(file) for file in files], len(rows))
        return Beside([rows, ArrowRows(pa.table({"test_fold": folds}), rows.file)])

    def _obtain(self, file: str) -> Path:
        names = {"dataset": self.dataset, "file": file}
        opener = self.opener
        return obtain(
            ORIGINAL.format(**names),
            data_root=opener.data_root,
            url=URL.format(**names),
            download=opener.download,
        )


def _folds(files: Sequence[Path], n_graphs: int) -> list[int]:
    """The fold in whose test list each graph stands; -1 for none."""
    folds = [-1] * n_graphs
    for fold, file in enumerate(files):
        for line in lines_in(text_in(file), str(file)):
            graph = int(line) if line.isdecimal() else -1
            if not 0 <= graph < n_graphs or folds[graph] >= 0:
                raise ValueError(f"{file}: {line[:60]!r} is not one of 0..{n_graphs - 1}, or in two test folds")
            folds[graph] = fold
    return folds
