"""Any in-memory data set of PyTorch Geometric, or graphs of one's own."""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from omniformer_tokenizers.versions import fitting
from torch import Tensor

from omniformer.core.ranges import BelowOne
from omniformer.data.quarantine import quarantine
from omniformer.data.source import Raw, Source, Split, own
from omniformer.data.splitting import hashed_split


class PyGDataset(Source):
    """Graphs of an `InMemoryDataset` of `torch_geometric.datasets`, or a list of `Data`.

    Whole graphs (`target` label, labels or value) are split by the hashes of their numbers. With `node_label`, a graph
    serves in every split, and its `train_mask`, `val_mask` and `test_mask` say which nodes count.

    Args:
        dataset: the class, for example `TUDataset` or `Planetoid`; None where `graphs` is given.
        root: where its files are, or will be downloaded to by PyG; a relative path is looked for where one stands, then
            under `data_root`, where it is made if it is in neither.
        data_root: where data lies on this machine; None means the current folder alone.
        options: further arguments of the class, for example `{"name": "MUTAG"}`.
        graphs: graphs of one's own instead of `dataset`, from Python.
        target: what `y` holds: the class of the graph (`label`), yes-no answers (`labels`), numbers (`value`), or the
            class of each node (`node_label`).
        label_names: names of the classes or questions; None numbers them.
        val: the share of validation for whole graphs.
        test: the share of test for whole graphs.

    Raises:
        ValueError: not exactly one of `dataset` and `graphs` is given, the class is not an in-memory data set of PyG,
            it cannot be built with these options, one of its files holds more than tensors, arrays and plain values, a
            graph has no `y` or no masks, or `label_names` has another number
            of names than there are classes.
    """

    modalities = ("graph",)

    def __init__(
        self,
        *,
        dataset: str | None = None,
        root: str | None = None,
        data_root: str | None = None,
        options: dict[str, Any] | None = None,
        graphs: Sequence[Any] | None = None,
        target: Literal["label", "labels", "value", "node_label"] = "label",
        label_names: list[str] | None = None,
        val: BelowOne = 0.1,
        test: BelowOne = 0.1,
    ) -> None:
        if (dataset is None) == (graphs is None):
            raise ValueError("give either dataset, the name of a PyG class, or graphs, a list of Data")
        if target not in ("label", "labels", "value", "node_label"):
            raise ValueError(f"target={target!r} is not known; choose label, labels, value or node_label")
        self.dataset = dataset
        self.graphs = list(graphs) if graphs is not None else _load(str(dataset), root, data_root, options or {})
        self.target = target
        self.label_names = label_names
        self.val = val
        self.test = test

    @property
    def name(self) -> str:
        """The name of the data set, for messages."""
        return self.dataset or "graphs"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        n = self._n_classes
        names = tuple(self.label_names) if self.label_names is not None else tuple(str(i) for i in range(n))
        if len(names) != n:
            raise ValueError(f"{self.name}: label_names has {len(names)} names for {n} classes")
        return names

    @property
    def facts(self) -> Mapping[str, Any]:
        """The number of classes, and what the tokenizer must know of nodes and edges that have features."""
        classes = {"n_classes": self._n_classes} if self._n_classes else {}
        return classes | self._features("node", "x") | self._features("edge", "edge_attr")

    def _features(self, kind: str, attribute: str) -> dict[str, Any]:
        """Whole numbers are categories, each column with its own; all others are numbers."""
        rows = [found for graph in self.graphs if (found := getattr(graph, attribute, None)) is not None]
        rows = [each[:, None] if each.ndim == 1 else each for each in rows if each.numel()]
        if not rows:
            return {}
        if rows[0].is_floating_point():
            return {f"{kind}_features": rows[0].shape[1]}
        return {f"{kind}_vocab_sizes": tuple((1 + torch.stack([each.amax(0) for each in rows]).amax(0)).tolist())}

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        if self.target == "node_label":
            return [self._nodes(i, name) for i in range(len(self.graphs))]
        return [self._graph(i) for i in self._splits[name]]

    @cached_property
    def _splits(self) -> dict[Split, list[int]]:
        return hashed_split([f"graph {i}" for i in range(len(self.graphs))], val=self.val, test=self.test)

    @cached_property
    def _n_classes(self) -> int:
        if self.target == "value":
            return 0
        ys = [self._y(i) for i in range(len(self.graphs))]
        if self.target == "labels":
            return ys[0].numel()
        return 1 + max(int(y.max()) for y in ys)

    def _y(self, index: int) -> Tensor:
        y = getattr(self.graphs[index], "y", None)
        if y is None or not y.numel():
            raise ValueError(f"graph {index} of {self.name} has no y; target={self.target} needs one")
        return y

    def _graph(self, index: int) -> Raw:
        y = self._y(index).flatten()
        if self.target == "label":
            if y.numel() != 1 or y.is_floating_point():
                raise ValueError(
                    f"graph {index} of {self.name}: y is {y.dtype} of {y.numel()} numbers; target=label needs one "
                    "whole number. For several yes-no answers choose target=labels, for numbers target=value"
                )
            targets = {"label": y[0].long()}
        elif self.target == "labels":
            targets = {"labels": y.float()}
        else:
            targets = {"value": y.float() if y.numel() > 1 else y[0].float()}
        return Raw(id=f"{self.name}/{index}", contents={"graph": self.graphs[index]}, targets=targets)

    def _nodes(self, index: int, name: Split) -> Raw:
        graph = self.graphs[index]
        mask = getattr(graph, f"{name}_mask", None)
        if mask is None or mask.ndim != 1:
            raise ValueError(
                f"graph {index} of {self.name} has no {name}_mask with one truth value for each node; add one "
                "(torch_geometric.transforms.RandomNodeSplit does), or choose one of several columns"
            )
        targets = {"label": self._y(index).long(), "mask": mask.bool()}
        return Raw(id=f"{self.name}/{index}", contents={"graph": graph}, token_targets=targets)


def pyg(part: Literal["datasets", "nn"]) -> Any:
    """A module of `torch_geometric`, imported without the deprecation notices that PyG itself runs into.

    Example:
        >>> pyg("nn").GIN.__name__
        'GIN'
    """
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # PyG 2.8 scripts a class, which torch 2.15 deprecates
            warnings.simplefilter("ignore", category)
        with fitting():
            return import_module(f"torch_geometric.{part}")


def _load(dataset: str, root: str | None, data_root: str | None, options: dict[str, Any]) -> list[Any]:
    """The graphs of a PyG class; only in-memory data sets of PyG may be named, so no setting runs other code, and no
    file of theirs does: see `quarantine`.
    """
    datasets = pyg("datasets")
    from torch_geometric.data import InMemoryDataset

    known = getattr(datasets, dataset, None) if dataset in datasets.__all__ else None
    if not (isinstance(known, type) and issubclass(known, InMemoryDataset)):
        raise ValueError(f"dataset={dataset!r} is not an in-memory data set of torch_geometric.datasets")
    folder = None if root is None else own(root, data_root)
    if folder is not None and "root" in options:
        raise ValueError(f"{dataset}: root stands in options as well; give it once, as root")
    place = {} if folder is None else {"root": str(folder)}
    try:
        # PyG unpickles whatever a file holds where `weights_only` refuses it, and raw files of some sets in any case.
        with warnings.catch_warnings(), quarantine(writable=[] if folder is None else [folder]):
            warnings.filterwarnings("ignore", "Weights only load failed|Detected pickle protocol")
            built = known(**place, **options)
            return [built[i] for i in range(len(built))]
    except UnpicklingError as error:  # torch would advise to run it
        raise ValueError(f"{dataset}: a file in root={root!r} holds more than plain values, and was not run") from error
    except (TypeError, RuntimeError, OSError, AssertionError, LookupError, EOFError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{dataset} cannot be built from root={root!r} and options={options}: {said}") from error
