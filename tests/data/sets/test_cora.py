import pickle
import zipfile
from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from omniformer.data.pyg_dataset import pyg
from omniformer.data.sets.cora import PACKED, RAW_ARCHIVE, Cora

SPLITS = ("train", "val", "test")
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
def packed(tmp_path, graph):
    words, classes, edges = graph
    rows = sp.csr_matrix(words)
    (tmp_path / "cora").mkdir()
    arrays = {
        "x_indices": rows.indices,
        "x_indptr": rows.indptr,
        "x_shape": np.array(rows.shape),
        "y": classes.astype(np.uint8),
        "edge_index": edges,
        "train_idx": np.arange(N_TRAIN),
        "val_idx": np.arange(N_TRAIN, N_TRAIN + N_VAL),
        "test_idx": np.arange(N_TRAIN + N_VAL, N),
    }
    np.savez(tmp_path / PACKED, **arrays)
    return tmp_path, arrays


@pytest.fixture
def raw_files(graph):
    """The same graph as the eight files of Planetoid; the test papers in another order, as there."""
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


def test_every_split_is_the_same_graph_and_has_its_mask(packed, graph):
    source = Cora(data_root=str(packed[0]), row_normalise=False)
    words, classes, edges = graph
    masks = []
    for name in SPLITS:
        (raw,) = source.split(name)
        assert raw.id == f"cora/{name}"
        content = raw.contents["graph"]
        assert content["n_nodes"] == N
        assert np.array_equal(content["edges"].numpy().T, edges)
        assert np.array_equal(content["node_features"].numpy(), words)
        assert np.array_equal(raw.token_targets["label"].numpy(), classes)
        masks.append(raw.token_targets["mask"])
    assert torch.stack(masks).sum(1).tolist() == [N_TRAIN, N_VAL, N_TEST]
    assert int(torch.stack(masks).sum(0).max()) == 1


def test_words_of_a_paper_add_up_to_one(packed):
    words = Cora(data_root=str(packed[0])).split("train")[0].contents["graph"]["node_features"]
    assert torch.allclose(words.sum(1), torch.ones(N))


def test_the_raw_archive_beside_it_gives_the_same_graph(tmp_path, packed, raw_files, listed):
    (tmp_path / "other/cora").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "other" / RAW_ARCHIVE, "w") as archive:
        for name, content in raw_files.items():
            archive.writestr(name, content)
    for normalise in (True, False):
        ours = Cora(data_root=str(packed[0]), row_normalise=normalise)
        assert listed(Cora(data_root=str(tmp_path / "other"), row_normalise=normalise)) == listed(ours)


def test_raw_files_are_fetched_by_pyg_only_when_asked(tmp_path, packed, raw_files, listed, monkeypatch):
    folder = tmp_path / "published"
    folder.mkdir()
    for name, content in raw_files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(pyg("datasets").Planetoid, "url", folder.as_uri())
    root = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"cora\.npz.*planetoid_raw_cora\.zip.*download=true"):
        Cora(data_root=root).split("train")
    assert listed(Cora(data_root=root, download=True)) == listed(Cora(data_root=str(packed[0])))
    assert listed(Cora(data_root=root)) == listed(Cora(data_root=str(packed[0])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.full(N, 7)}, "paper 0 has the label 7; expected 0..6"),
        ({"y": np.zeros(3, int)}, "y has 3"),
        (
            {"edge_index": np.array([[0], [N]])},
            rf"edge_index of shape \[2, 1\] does not hold pairs of papers 0..{N - 1}",
        ),
        ({"x_indices": np.zeros(3, int)}, "x_indices 3 words"),
        ({"val_idx": np.array([N])}, f"val_idx holds {N}..{N}; expected 0..{N - 1}"),
    ],
)
def test_arrays_that_do_not_fit_are_told(packed, changes, message):
    root, arrays = packed
    np.savez(root / PACKED, **arrays | changes)
    with pytest.raises(ValueError, match=rf"cora\.npz: .*{message}"):
        Cora(data_root=str(root)).split("train")


def test_broken_raw_files_are_told(tmp_path, raw_files):
    folder = tmp_path / "cora/Cora/raw"
    folder.mkdir(parents=True)
    for name, content in raw_files.items():
        (folder / name).write_bytes(content[:20] if name == "ind.cora.tx" else content)
    with pytest.raises(ValueError, match="Cora cannot be read by PyG from .*cora: .*delete the folder"):
        Cora(data_root=str(tmp_path)).split("train")


def test_an_archive_without_a_raw_file_is_told(tmp_path, raw_files):
    (tmp_path / "cora").mkdir()
    with zipfile.ZipFile(tmp_path / RAW_ARCHIVE, "w") as archive:
        archive.writestr("ind.cora.x", raw_files["ind.cora.x"])
    with pytest.raises(ValueError, match=r"planetoid_raw_cora\.zip is not the archive of Cora's raw files"):
        Cora(data_root=str(tmp_path)).split("train")


def test_the_real_graph_has_its_published_size(shared_data):
    source = Cora(data_root=str(shared_data), row_normalise=False)
    raws = {name: source.split(name)[0] for name in SPLITS}
    content, targets = raws["train"].contents["graph"], raws["train"].token_targets
    assert content["node_features"].shape == (2708, 1433)
    assert int(content["node_features"].sum()) == 49216
    assert content["edges"].shape == (10556, 2)
    assert [int(raws[name].token_targets["mask"].sum()) for name in SPLITS] == [140, 500, 1000]
    assert targets["label"][targets["mask"]].bincount().tolist() == [20] * 7
    # Sizes of the classes as published, which are all different, tell which number is which field.
    sizes = dict(zip(source.labels, targets["label"].bincount().tolist(), strict=True))
    assert sizes["neural networks"] == 818
    assert sizes["probabilistic methods"] == 426
    assert sizes["theory"] == 351


def test_the_real_raw_files_give_the_real_graph(shared_data, tmp_path):
    (tmp_path / "cora").mkdir()
    (tmp_path / RAW_ARCHIVE).symlink_to(shared_data / RAW_ARCHIVE)
    ours, theirs = (Cora(data_root=str(root)).split("val")[0] for root in (shared_data, tmp_path))
    for key in ("edges", "node_features"):
        assert torch.equal(ours.contents["graph"][key], theirs.contents["graph"][key])
    for key in ("label", "mask"):
        assert torch.equal(ours.token_targets[key], theirs.token_targets[key])
