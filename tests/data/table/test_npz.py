import numpy as np
import pytest
import torch

from omniformer.data.table.npz import ArrayRows

GRAPHS = {
    "node_ptr": [0, 1, 3],
    "edge_ptr": [0, 0, 2],
    "edge_index": [[1, 2], [2, 1]],
    "node_label": [0, 4, 2],
    "y": [1, 0],
}


def test_entries_of_arrays_are_cells_and_pictures_have_their_channels_first(tmp_path):
    pictures = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    np.savez(tmp_path / "a.npz", photo=pictures, grey=pictures[..., 0], y=[3, 1], mean=[[0.5, 1], [2, 3]], tasks=["t"])
    rows = ArrayRows(tmp_path / "a.npz")
    assert rows.columns == ("photo", "grey", "y", "mean")  # tasks has no entry for each row
    row = rows.row(1)
    assert torch.equal(row["photo"], torch.from_numpy(pictures[1]).permute(2, 0, 1))
    assert torch.equal(row["grey"], torch.from_numpy(pictures[1, :, :, 0])[None])
    assert (row["y"], row["mean"]) == (1, [2.0, 3.0])
    assert rows.heavy() == {"graph", "photo", "grey"}
    assert list(rows.each(["y"])) == [{"y": 3}, {"y": 1}]


def test_graphs_end_to_end_are_one_column_that_knows_its_categories(tmp_path):
    np.savez(tmp_path / "a.npz", **GRAPHS)
    rows = ArrayRows(tmp_path / "a.npz")
    assert rows.columns == ("y", "graph")
    assert rows.row(1)["graph"]["edges"].tolist() == [[0, 1], [1, 0]]
    assert rows.row(1)["graph"]["node_features"].tolist() == [[4], [2]]
    assert rows.facts() == {"node_vocab_sizes": (5,)}


def test_files_without_columns_and_graphs_without_their_arrays_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", y=np.array(3))
    with pytest.raises(ValueError, match=r"a\.npz holds no array with one entry for each row"):
        ArrayRows(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **{name: array for name, array in GRAPHS.items() if name != "edge_ptr"})
    with pytest.raises(ValueError, match=r"a\.npz has no array 'edge_ptr'"):
        ArrayRows(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as npz"):
        ArrayRows(tmp_path / "a.npz")


def test_some_arrays_are_named_behind_colons(tmp_path):
    files = [b"one", b"three"]
    np.savez(
        tmp_path / "a.npz",
        x_train=np.zeros((3, 4, 4), np.uint8),
        train_jpeg=np.frombuffer(b"".join(files), np.uint8),
        train_offset=[0, 3, 8],
        train_label=[4, 2],
        test_label=[9],
    )
    one = ArrayRows(tmp_path / "a.npz", "x_train")
    assert one.columns == ("content",) and one.row(0)["content"].shape == (1, 4, 4) and len(one) == 3
    some = ArrayRows(tmp_path / "a.npz", "train_*")
    assert some.columns == ("label", "content") and some.heavy() == {"graph", "content"}
    assert list(some.each(["content", "label"])) == [
        {"content": b"one", "label": 4},
        {"content": b"three", "label": 2},
    ]
    with pytest.raises(ValueError, match=r"a\.npz has no array 'y_\*'; it has x_train, train_jpeg"):
        ArrayRows(tmp_path / "a.npz", "y_*")


@pytest.mark.parametrize(("shape", "seen"), [((2, 5, 3), (3, 2, 5)), ((3, 2, 5), (3, 2, 5)), ((3, 2, 3), (3, 3, 2))])
def test_the_axis_of_channels_is_the_one_of_their_number_the_last_before_the_first(tmp_path, shape, seen):
    rows = ArrayRows(tmp_path / "a.npz", arrays={"photo": np.zeros((1, *shape), np.uint8)})
    assert tuple(rows.row(0)["photo"].shape) == seen
