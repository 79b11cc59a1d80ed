import csv
import gzip

import numpy as np
import pytest
import torch

from omniformer.data.sets import tox21
from omniformer.data.sets.molecules import Molecules
from omniformer.data.sets.tox21 import ASSAYS, ORIGINAL, PACKED, Tox21

SPLITS = ("train", "val", "test")
N = 23


def lone_atoms(numbers):
    """Molecules of one atom each, of these atomic numbers; 0 for a row that cannot be read."""
    valid = np.array(numbers) > 0
    atoms = [number for number in numbers if number]
    return {
        "node_feat": np.array([[number, 0, 0, 0, 0, 0, 3, 0] for number in atoms]).reshape(-1, 8),
        "node_ptr": np.concatenate([[0], np.cumsum(valid)]),
        "edge_index": np.zeros((2, 0), int),
        "edge_feat": np.zeros((0, 4), int),
        "edge_ptr": np.zeros(len(numbers) + 1, int),
        "valid": valid,
    }


ATOMS = [0 if row == 10 else row + 1 for row in range(N)]
LABELS = np.random.default_rng(0).choice(np.array([0, 1, np.nan], np.float32), size=(N, 12))


def save(file, **changes):
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **{"y": LABELS, "tasks": np.array(ASSAYS)} | lone_atoms(ATOMS) | changes)


@pytest.fixture
def root(tmp_path):
    save(tmp_path / PACKED)
    return tmp_path


@pytest.fixture
def table(monkeypatch):
    """Writes the table as published; its reader knows atomic numbers instead of SMILES, in place of RDKit."""

    def made(smiles, *, where):
        return Molecules(where=where, arrays=lone_atoms([int(text) for text in smiles]))

    def write(file, labels=LABELS, columns=ASSAYS):
        file.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(file, "wt", newline="") as out:
            rows = csv.writer(out)
            rows.writerow([*columns, "mol_id", "smiles"])
            for row in range(N):
                values = ["" if np.isnan(label) else int(label) for label in labels[row]]
                rows.writerow([*values, f"TOX{row}", ATOMS[row]])
        return file

    monkeypatch.setattr(tox21, "made_molecules", made)
    monkeypatch.setattr(tox21, "SHA256", None)
    return write


def as_text(source):
    """Everything of all samples; missing answers, which differ from themselves, as words."""
    return {
        name: [(raw.id, str(raw.targets["labels"]), str(raw.contents["graph"])) for raw in source.split(name)]
        for name in SPLITS
    }


def test_rows_are_split_by_their_last_digit_and_unreadable_ones_are_dropped(root):
    source = Tox21(data_root=str(root))
    numbers = {name: [int(raw.id.split("/")[2]) for raw in source.split(name)] for name in SPLITS}
    assert numbers["test"] == [0, 20]
    assert numbers["val"] == [1, 11, 21]
    assert numbers["train"] == [row for row in range(N) if row % 10 > 1]
    assert source.n_dropped == 1
    for name in SPLITS:
        for row, raw in zip(numbers[name], source.split(name), strict=True):
            assert int(raw.contents["graph"]["node_features"][0, 0]) == row + 1
            assert raw.targets["labels"].dtype == torch.float32
            assert np.array_equal(raw.targets["labels"].numpy(), LABELS[row], equal_nan=True)


def test_the_published_table_gives_the_same_samples(root, tmp_path, table, monkeypatch):
    monkeypatch.setattr(tox21, "URL", table(tmp_path / "published.csv.gz").as_uri())
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"tox21_graphs\.npz.*tox21\.csv\.gz.*download=true"):
        Tox21(data_root=empty).split("train")
    fetched = Tox21(data_root=empty, download=True)
    assert as_text(fetched) == as_text(Tox21(data_root=str(root)))
    assert fetched.n_dropped == 1
    assert (tmp_path / "empty" / ORIGINAL).is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.where(np.isnan(LABELS), LABELS, 2)}, r"row 0 has 2.0 for \S+; expected 0, 1 or nothing"),
        ({"y": LABELS[:5]}, rf"y has shape \[5, 12\]; expected \[{N}, 12\]"),
        ({"tasks": np.array(ASSAYS[::-1])}, "tasks are .*; expected"),
    ],
)
def test_arrays_that_do_not_fit_are_told(root, changes, message):
    save(root / PACKED, **changes)
    with pytest.raises(ValueError, match=rf"tox21_graphs\.npz: {message}"):
        Tox21(data_root=str(root)).split("train")


def test_a_bad_table_is_told(tmp_path, table):
    table(tmp_path / ORIGINAL, columns=("NR-AB", *ASSAYS[1:]))
    with pytest.raises(ValueError, match=r"tox21\.csv\.gz cannot be read, 0 rows in: it has no column 'NR-AR'"):
        Tox21(data_root=str(tmp_path)).split("train")
    table(tmp_path / ORIGINAL, labels=np.where(np.isnan(LABELS), LABELS, 7))
    with pytest.raises(ValueError, match=r"tox21\.csv\.gz: row 0 has 7.0 for"):
        Tox21(data_root=str(tmp_path)).split("train")
    (tmp_path / ORIGINAL).write_bytes((tmp_path / ORIGINAL).read_bytes()[:60])
    with pytest.raises(ValueError, match=r"tox21\.csv\.gz cannot be read, 0 rows in"):
        Tox21(data_root=str(tmp_path)).split("train")


def test_the_real_set_has_its_published_size(shared_data):
    source = Tox21(data_root=str(shared_data))
    assert [len(source.split(name)) for name in SPLITS] == [6403, 802, 801]
    assert source.n_dropped == 8
    labels = torch.stack([raw.targets["labels"] for name in SPLITS for raw in source.split(name)])
    assert float(labels.isnan().float().mean()) == pytest.approx(0.17, abs=0.005)
    assert dict(source.facts)["n_classes"] == len(source.labels) == 12


def test_rdkit_makes_the_real_graphs_from_the_real_table(shared_data, tmp_path, monkeypatch):
    pytest.importorskip("rdkit")
    monkeypatch.setattr(tox21, "SHA256", None)
    (tmp_path / "tox21").mkdir()
    head = gzip.decompress((shared_data / ORIGINAL).read_bytes()).split(b"\n")[:401]
    (tmp_path / ORIGINAL).write_bytes(gzip.compress(b"\n".join(head)))
    ours, theirs = Tox21(data_root=str(tmp_path)), Tox21(data_root=str(shared_data))
    for a, b in zip(ours.split("test"), theirs.split("test")[:40], strict=True):
        assert a.id == b.id
        for key in ("edges", "node_features", "edge_features"):
            assert torch.equal(a.contents["graph"][key], b.contents["graph"][key])
        assert torch.equal(a.targets["labels"].nan_to_num(2), b.targets["labels"].nan_to_num(2))
