"""Papers that cite each other: one graph, in which the field of each paper is to be found."""

import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omniformer.data.pyg_dataset import pyg
from omniformer.data.quarantine import quarantine
from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.reading import read_member
from omniformer.data.source import Raw, Source, Split, resolve

PACKED = "cora/cora.npz"
RAW_ARCHIVE = "cora/planetoid_raw_cora.zip"
ORIGINAL = "cora"  # the root that PyG's class is given; it keeps its files in cora/Cora/raw
_ARRAYS = ("x_indices", "x_indptr", "x_shape", "y", "edge_index", "train_idx", "val_idx", "test_idx")
_RAW_FILES = tuple(f"ind.cora.{end}" for end in ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index"))


class Cora(Source):
    """2,708 papers on machine learning, the words in them, and who cites whom
    ([Sen et al. 2008](https://doi.org/10.1609/aimag.v29i3.2157); split of
    [Yang et al. 2016](https://arxiv.org/abs/1603.08861), "Planetoid").

    One graph, 5,278 citations in both directions; the class of a paper is one of seven fields. Every split is the same
    graph; `token_targets["mask"]` says which papers count in it: 140 train (20 of each class), 500 validation, 1,000
    test. The other papers count nowhere, but their words and citations are seen.

    Read is `cora/cora.npz`, or else the files that PyG's class `Planetoid` keeps in `cora/Cora`; both give the same
    samples. PyG's raw files are taken from `cora/planetoid_raw_cora.zip` where that lies there, and are fetched by PyG
    otherwise. They are Python pickles, which can hold any code: fetch them only if you trust their publisher.

    Args:
        data_root: the folder in which `cora` lies; None means the current folder.
        download: let PyG fetch its raw files where none of these is there.
        row_normalise: divide the words of each paper by their number, as Kipf and Welling (2017) do; False keeps
            ones and zeros.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ValueError: a file that cannot be read, an array that is missing or does not fit; names the file.

    Example:
        >>> Cora().labels[3], Cora().facts["n_classes"]
        ('neural networks', 7)
    """

    modalities = ("graph",)

    def __init__(self, *, data_root: str | None = None, download: bool = False, row_normalise: bool = True) -> None:
        self.data_root = data_root
        self.download = download
        self.row_normalise = row_normalise

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the fields, in the order of the targets."""
        return (
            "theory",
            "reinforcement learning",
            "genetic algorithms",
            "neural networks",
            "probabilistic methods",
            "case based",
            "rule learning",
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The number of fields, and of the words that a paper may have."""
        return {"n_classes": len(self.labels), "node_features": 1433}

    def split(self, name: Split) -> Sequence[Raw]:
        """The graph, with the mask of one split."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        words, edges, label, masks = self._read()
        if self.row_normalise:
            words = words / words.sum(1, keepdim=True).clamp(min=1)
        graph = {"n_nodes": len(words), "edges": edges.T.contiguous(), "node_features": words}
        return {
            name: [Raw(id=f"cora/{name}", contents={"graph": graph}, token_targets={"label": label, "mask": mask})]
            for name, mask in masks.items()
        }

    def _read(self) -> tuple[Tensor, Tensor, Tensor, dict[Split, Tensor]]:
        """Words `[nodes, words]`, edges `[2, edges]`, classes `[nodes]`, masks `[nodes]`."""
        packed = resolve(PACKED, self.data_root)
        return _from_arrays(packed) if packed.is_file() else _from_pyg(self._original())

    def _original(self) -> Any:
        """The graph as PyG's class reads it."""
        root = resolve(ORIGINAL, self.data_root)
        folder, archive = root / "Cora" / "raw", resolve(RAW_ARCHIVE, self.data_root)
        if not all((folder / name).is_file() for name in _RAW_FILES):
            if archive.is_file():
                _unpack(archive, folder)
            elif not self.download:
                raise FileNotFoundError(
                    f"no file {str(resolve(PACKED, self.data_root))!r}, none of {str(archive)!r} and no raw files in "
                    f"{str(folder)!r}; set data_root to the folder that holds 'cora', or fetch them with download=true"
                )
        try:
            with quarantine(writable=[root]):  # the raw files are pickles
                return pyg("datasets").Planetoid(root=str(root), name="Cora")[0]
        except (OSError, RuntimeError, ValueError, IndexError, EOFError, ImportError, UnpicklingError) as error:
            raise ValueError(f"Cora cannot be read by PyG from {root}: {error}; delete the folder and retry") from error


def _unpack(archive: Path, folder: Path) -> None:
    """Lays the eight raw files where PyG looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as files:
            for name in _RAW_FILES:
                # Under another name until it is whole, so that a broken archive leaves nothing that PyG would take.
                part = folder / f"{name}.part"
                part.write_bytes(read_member(files, name))
                part.replace(folder / name)
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError(f"{archive} is not the archive of Cora's raw files: {error}") from error


def _from_arrays(file: Path) -> tuple[Tensor, Tensor, Tensor, dict[Split, Tensor]]:
    arrays = read_arrays(file, _ARRAYS)
    y, edges, ends = arrays["y"], arrays["edge_index"], arrays["x_indptr"]
    n, width = (int(size) for size in arrays["x_shape"])
    if len(y) != n or len(ends) != n + 1 or int(ends[-1]) != len(arrays["x_indices"]):
        raise ValueError(
            f"{file}: x_shape names {n} papers, y has {len(y)}, x_indptr {len(ends) - 1} rows of "
            f"{int(ends[-1])} words, x_indices {len(arrays['x_indices'])} words; they must agree"
        )
    if edges.ndim != 2 or len(edges) != 2 or (edges.size and not 0 <= edges.min() <= edges.max() < n):
        raise ValueError(f"{file}: edge_index of shape {list(edges.shape)} does not hold pairs of papers 0..{n - 1}")
    if len(y) and int(y.max()) > 6:
        raise ValueError(f"{file}: paper {int(y.argmax())} has the label {int(y.max())}; expected 0..6")
    for name, top in {"x_indices": width, "train_idx": n, "val_idx": n, "test_idx": n}.items():
        if arrays[name].size and not 0 <= arrays[name].min() <= arrays[name].max() < top:
            raise ValueError(f"{file}: {name} holds {arrays[name].min()}..{arrays[name].max()}; expected 0..{top - 1}")
    words = torch.zeros(n, width)
    rows = np.repeat(np.arange(n), np.diff(ends))
    words[torch.from_numpy(rows), torch.from_numpy(arrays["x_indices"].astype(np.int64))] = 1.0
    splits: dict[Split, Tensor] = {}
    for name in ("train", "val", "test"):
        splits[name] = torch.zeros(n, dtype=torch.bool)
        splits[name][torch.from_numpy(arrays[f"{name}_idx"].astype(np.int64))] = True
    return words, torch.from_numpy(edges.astype(np.int64)), torch.from_numpy(y.astype(np.int64)), splits


def _from_pyg(data: Any) -> tuple[Tensor, Tensor, Tensor, dict[Split, Tensor]]:
    masks: dict[Split, Tensor] = {"train": data.train_mask, "val": data.val_mask, "test": data.test_mask}
    source, cited = data.edge_index
    order = (source * len(data.y) + cited).argsort()  # PyG sorts by the second end, the arrays by the first
    return data.x, data.edge_index[:, order], data.y, masks
