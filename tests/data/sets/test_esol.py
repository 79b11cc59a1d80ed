import csv

import numpy as np
import pytest
import torch

from omniformer.data.sets import esol
from omniformer.data.sets.esol import ESOL, ORIGINAL, PACKED
from omniformer.data.sets.molecules import Molecules

SPLITS = ("train", "val", "test")
N = 23
Y = np.linspace(-5, 1, N, dtype=np.float32)


def chains(lengths):
    """Molecules that are chains of carbon of these lengths, 0 for a row that cannot be read."""
    ends, node_ptr, edge_ptr = [], [0], [0]
    for length in lengths:
        first = node_ptr[-1]
        ends += [pair for a in range(first, first + length - 1) for pair in ((a, a + 1), (a + 1, a))]
        node_ptr.append(first + length)
        edge_ptr.append(len(ends))
    return {
        "node_feat": np.tile([6, 2, 0, 2, 0, 0, 3, 0], (node_ptr[-1], 1)),
        "node_ptr": np.array(node_ptr),
        "edge_index": np.array(ends).reshape(-1, 2).T,
        "edge_feat": np.zeros((len(ends), 4), int),
        "edge_ptr": np.array(edge_ptr),
        "valid": np.array(lengths) > 0,
    }


LENGTHS = [0 if row == 7 else 1 + row % 4 for row in range(N)]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "esol").mkdir()
    np.savez(tmp_path / PACKED, y=Y, **chains(LENGTHS))
    return tmp_path


@pytest.fixture
def table(tmp_path, monkeypatch):
    """The table as published, and a reader that knows carbon alone instead of RDKit."""

    def made(smiles, *, where):
        return Molecules(where=where, arrays=chains([0 if "x" in text else len(text.strip()) for text in smiles]))

    def write(rows):
        with (tmp_path / "table.csv").open("w", newline="") as file:
            names = ["Compound ID", "measured log solubility in mols per litre", "smiles"]
            csv.writer(file).writerows([names, *rows])
        return tmp_path / "table.csv"

    monkeypatch.setattr(esol, "made_molecules", made)
    monkeypatch.setattr(esol, "SHA256", None)
    return write


def test_rows_are_split_by_their_last_digit_and_unreadable_ones_are_dropped(root):
    source = ESOL(data_root=str(root))
    numbers = {name: [int(raw.id.split("/")[2]) for raw in source.split(name)] for name in SPLITS}
    assert numbers["test"] == [0, 10, 20]
    assert numbers["val"] == [1, 11, 21]
    assert numbers["train"] == [row for row in range(N) if row % 10 > 1 and row != 7]
    assert source.n_dropped == 1
    for name in SPLITS:
        for row, raw in zip(numbers[name], source.split(name), strict=True):
            assert raw.contents["graph"]["n_nodes"] == LENGTHS[row]
            assert raw.targets["value"].shape == ()
            assert float(raw.targets["value"]) == Y[row]


def test_facts_are_those_of_the_training_targets_alone(root):
    facts = ESOL(data_root=str(root)).facts
    train = [Y[row] for row in range(N) if row % 10 > 1 and row != 7]
    assert facts["target_mean"] == pytest.approx([np.mean(train)])
    assert facts["target_std"] == pytest.approx([np.std(train)])
    assert facts["node_vocab_sizes"] == (119, 12, 17, 9, 2, 2, 7, 9)


def test_the_published_table_gives_the_same_samples(root, tmp_path, table, listed, monkeypatch):
    rows = [[f"no, {i}", repr(float(Y[i])), "C" * LENGTHS[i] + " " if LENGTHS[i] else "x"] for i in range(N)]
    monkeypatch.setattr(esol, "URL", table(rows).as_uri())
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"esol_graphs\.npz.*delaney-processed\.csv.*download=true"):
        ESOL(data_root=empty).split("train")
    fetched = ESOL(data_root=empty, download=True)
    assert listed(fetched) == listed(ESOL(data_root=str(root)))
    assert fetched.facts == ESOL(data_root=str(root)).facts
    assert (tmp_path / "empty" / ORIGINAL).is_file()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["a", "", "C"], "row 1 has no 'measured log solubility in mols per litre' or no 'smiles'"),
        (["a", "1.0", " "], "row 1 has no "),
        (["a"], "row 1 has no "),
        (["a", "high", "C"], "row 1 has the solubility 'high', which is no number"),
        (["a", "nan", "C"], "row 1 has no finite solubility"),
    ],
)
def test_a_bad_row_of_the_table_is_told(tmp_path, table, row, message):
    file = table([["fine", "0.5", "CC"], row])
    (tmp_path / "esol").mkdir()
    file.rename(tmp_path / ORIGINAL)
    with pytest.raises(ValueError, match=rf"delaney-processed\.csv: {message}"):
        ESOL(data_root=str(tmp_path)).split("train")


def test_a_table_that_is_not_the_published_one_is_refused(tmp_path):
    (tmp_path / "esol").mkdir()
    (tmp_path / ORIGINAL).write_text("anything")
    with pytest.raises(ValueError, match="not the file that was expected"):
        ESOL(data_root=str(tmp_path)).split("train")


def test_targets_of_another_number_are_told(root):
    np.savez(root / PACKED, y=Y[:5], **chains(LENGTHS))
    with pytest.raises(ValueError, match=rf"esol_graphs\.npz: y has shape \[5\] for {N} molecules"):
        ESOL(data_root=str(root)).split("train")


def test_the_real_set_has_its_published_size(shared_data):
    source = ESOL(data_root=str(shared_data))
    assert [len(source.split(name)) for name in SPLITS] == [902, 113, 113]
    assert source.n_dropped == 0
    values = torch.stack([raw.targets["value"] for name in SPLITS for raw in source.split(name)])
    assert (round(float(values.min()), 2), round(float(values.max()), 2)) == (-11.6, 1.58)
    largest = max(raw.contents["graph"]["n_nodes"] for name in SPLITS for raw in source.split(name))
    assert largest == 55


def test_rdkit_makes_the_real_graphs_from_the_real_table(shared_data, tmp_path, listed):
    pytest.importorskip("rdkit")
    (tmp_path / "esol").mkdir()
    (tmp_path / ORIGINAL).symlink_to(shared_data / ORIGINAL)
    assert listed(ESOL(data_root=str(tmp_path))) == listed(ESOL(data_root=str(shared_data)))
