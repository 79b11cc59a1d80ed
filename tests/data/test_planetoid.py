import pickle
from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse as sp

from omniformer.data.by_name import known
from omniformer.data.planetoid import planetoid_columns
from omniformer.data.pyg_dataset import pyg

N_TRAIN, N_VAL, N_TEST, WORDS = 14, 500, 30, 6
N = N_TRAIN + N_VAL + N_TEST


@pytest.fixture(scope="module")
def graph():
    """Words, classes and edges of a small citation graph in which the split of Planetoid fits."""
    chance = np.random.default_rng(0)
    words = (chance.random((N, WORDS)) < 0.4).astype(np.float32)
    words[:, 0] = 1
    pairs = {(int(a), int(b)) for a, b in chance.integers(N, size=(900, 2)) if a != b}
    edges = np.array(sorted(pairs | {(b, a) for a, b in pairs})).T
    return words, np.arange(N) % 7, edges


@pytest.fixture
def raw_files(graph):
    """The eight files of Planetoid; the test papers in another order, as there."""
    words, classes, edges = graph
    one_hot = np.eye(7, dtype=np.int32)[classes]
    last = N - N_TEST
    order = last + np.random.default_rng(1).permutation(N_TEST)
    neighbours = defaultdict(list)
    for a, b in edges.T.tolist():
        neighbours[a].append(b)
    contents = {
        "x": sp.csr_matrix(words[:N_TRAIN]),
        "y": one_hot[:N_TRAIN],
        "tx": sp.csr_matrix(words[order]),
        "ty": one_hot[order],
        "allx": sp.csr_matrix(words[:last]),
        "ally": one_hot[:last],
        "graph": neighbours,
    }
    files = {f"ind.cora.{end}": pickle.dumps(content, protocol=2) for end, content in contents.items()}
    return files | {"ind.cora.test.index": "".join(f"{row}\n" for row in order).encode()}


@pytest.fixture
def packed(tmp_path, graph):
    """The same graph as arrays, as `data=cora` has them."""
    words, classes, edges = graph
    rows = sp.csr_matrix(words)
    (tmp_path / "packed/cora").mkdir(parents=True)
    np.savez(
        tmp_path / "packed/cora/cora.npz",
        x_indices=rows.indices,
        x_indptr=rows.indptr,
        x_shape=np.array(rows.shape),
        y=classes.astype(np.uint8),
        edge_index=edges,
        train_idx=np.arange(N_TRAIN),
        val_idx=np.arange(N_TRAIN, N_TRAIN + N_VAL),
        test_idx=np.arange(N_TRAIN + N_VAL, N),
    )
    return str(tmp_path / "packed")


def test_raw_files_are_fetched_by_pyg_only_when_asked_and_give_what_the_arrays_give(
    tmp_path, packed, raw_files, listed, monkeypatch, graph
):
    (folder := tmp_path / "published").mkdir()
    for name, content in raw_files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(pyg("datasets").Planetoid, "url", folder.as_uri())
    root = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no raw files in '.*cora/Cora/raw'.*download=true"):
        known("cora", data_root=root).split("train")
    ours = known("cora", data_root=packed)
    (raw,) = ours.split("train")
    assert np.array_equal(raw.contents["graph"]["edges"].numpy().T, graph[2])
    assert np.allclose(raw.contents["graph"]["node_features"].sum(1), 1)
    assert listed(known("cora", data_root=root, download=True)) == listed(ours)
    assert listed(known("cora", data_root=root)) == listed(ours)  # they are there now


def test_broken_raw_files_are_told(tmp_path, raw_files):
    (folder := tmp_path / "cora/Cora/raw").mkdir(parents=True)
    for name, content in raw_files.items():
        (folder / name).write_bytes(content[:20] if name == "ind.cora.tx" else content)
    with pytest.raises(ValueError, match="Cora cannot be read by PyG from .*cora: .*delete the folder"):
        planetoid_columns(tmp_path / "cora/Cora")


@pytest.mark.slow
def test_the_real_graph_has_its_published_size(shared_data):
    source = known("cora", data_root=str(shared_data), row_normalise=False)
    raws = {name: source.split(name)[0] for name in ("train", "val", "test")}
    content, targets = raws["train"].contents["graph"], raws["train"].token_targets
    assert int(content["node_features"].sum()) == 49216 and content["edges"].shape == (10556, 2)
    assert [int(raw.token_targets["mask"].sum()) for raw in raws.values()] == [140, 500, 1000]
    # Sizes of the classes as published, which are all different, tell which number is which field.
    sizes = dict(zip(source.labels, targets["label"].bincount().tolist(), strict=True))
    assert (sizes["neural networks"], sizes["probabilistic methods"], sizes["theory"]) == (818, 426, 351)
