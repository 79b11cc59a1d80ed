from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from omniformer.data import GraphTables, graph_arrays
from omniformer.data.graph_arrays import graph_columns

X = np.array([[0, 2, 0], [1, 0, 0], [0, 0, 3], [4, 0, 5]], np.float32)
ADJ = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], np.float32)


def parts(name, matrix):
    rows = sp.csr_matrix(matrix)
    return {f"{name}_{part}": np.array(getattr(rows, part)) for part in ("data", "indices", "indptr", "shape")}


def test_sparse_matrices_become_features_and_edges():
    found = graph_columns(parts("attr", X) | parts("adj", ADJ) | {"labels": np.arange(4)}, Path("a.npz"))
    assert found.keys() == {"attr", "edge_index", "labels"}
    assert np.array_equal(found["attr"], X)
    assert np.array_equal(found["edge_index"], np.stack(ADJ.nonzero()))


@pytest.mark.parametrize("kind", ["idx", "mask"])
def test_numbers_or_masks_of_nodes_are_their_split(kind):
    chosen = {"train": [0], "val": [3], "test": [1]}
    arrays = {f"{name}_idx": np.array(each) for name, each in chosen.items()}
    if kind == "mask":
        arrays = {f"{name}_mask": np.isin(np.arange(4), each) for name, each in chosen.items()}
    assert graph_columns(arrays | {"y": np.arange(4)}, Path("a.npz"))["split"] == ["train", "test", None, "val"]


def test_one_file_is_a_whole_graph(tmp_path):
    arrays = parts("x", X) | parts("adj", ADJ) | {"y": np.array([1, 1, 1, 0]), "train_idx": np.array([0, 1])}
    np.savez(tmp_path / "a.npz", **arrays | {"test_idx": np.array([2])})
    options = {"features": ["x"], "label": "y", "labels": ["cat", "dog"], "ids": "mine/{split}"}
    source = GraphTables(nodes="none.npz | a.npz", data_root=str(tmp_path), row_normalise=True, **options)
    (train,) = source.split("train")
    assert (train.id, source.name, source.labels) == ("mine/train", "mine", ("cat", "dog"))
    assert source.facts == {"n_classes": 2, "node_features": 3}
    assert train.contents["graph"]["edges"].tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert np.allclose(train.contents["graph"]["node_features"], X / X.sum(1, keepdims=True))
    assert train.token_targets["label"].tolist() == [1, 1, 1, 0]
    assert train.token_targets["mask"].tolist() == [True, True, False, False]
    assert not source.split("val") and source.baselines() == {"majority_accuracy": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.array([0, 1, 2, 0])}, "column 'y': class 2 is not one of the 2"),
        (
            {"x_indices": np.array([0, 9, 1, 2, 0])},
            "x_indices, x_indptr, x_shape are no sparse matrix: columns 0 to 9 of 3",
        ),
        ({"x_indptr": np.array([0, 1])}, "are no sparse matrix"),
        ({"val_idx": np.array([4])}, "nodes 4 to 4 are for val, of 4 nodes from 0"),
        ({"edge_index": np.array([[0], [7]])}, "row 1: '7' is no node of a.npz"),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path, changes, message):
    arrays = parts("x", X) | {"edge_index": np.array([[0], [1]]), "y": np.arange(4) % 2, "train_idx": np.array([0])}
    np.savez(tmp_path / "a.npz", **arrays | changes)
    source = GraphTables(nodes=str(tmp_path / "a.npz"), features=["x"], label="y", labels=["cat", "dog"])
    with pytest.raises(ValueError, match=rf"a\.npz.*{message}"):
        source.split("train")


def test_a_matrix_that_would_be_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_arrays, "FREE_TEXT_BYTES", 1_000)
    np.savez_compressed(tmp_path / "a.npz", **parts("x", sp.csr_matrix((1_000, 1_000))))
    with pytest.raises(ValueError, match=r"a\.npz: 'x' of 1000 x 1000 numbers: 4000000 bytes"):
        GraphTables(nodes=str(tmp_path / "a.npz"), label=None).split("train")
