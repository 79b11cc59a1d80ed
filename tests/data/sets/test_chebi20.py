import gzip

import numpy as np
import pytest

from omniformer.data.sets import chebi20
from omniformer.data.sets.chebi20 import GRAPHS, ORIGINAL, PACKED, ChEBI20
from omniformer.data.sets.molecules import Molecules

SPLITS = ("train", "val", "test")
SIZES = {"validation": 13, "test": 4}
# The SMILES of row n is a bond to the left, doubled as in the source, and the atomic number n + 1.
TABLES = {
    part: "CID\tSMILES\tdescription\n"
    + "".join(f'{100 + row}\tF/C=C\\\\{row + 1}\tThe "{part}" molecule {row}.\n' for row in range(size))
    for part, size in SIZES.items()
}


def lone_atoms(numbers):
    n = len(numbers)
    return {
        "node_feat": np.array([[number, 0, 0, 0, 0, 0, 3, 0] for number in numbers]),
        "node_ptr": np.arange(n + 1),
        "edge_index": np.zeros((2, 0), int),
        "edge_feat": np.zeros((0, 4), int),
        "edge_ptr": np.zeros(n + 1, int),
        "valid": np.ones(n, bool),
    }


def save(root, part="validation", table=None, **changes):
    """The packed files; `changes` are of the arrays of one part."""
    (root / "chebi20").mkdir(exist_ok=True)
    arrays = {}
    for each, size in SIZES.items():
        own = {"cid": 100 + np.arange(size)} | lone_atoms(range(1, size + 1)) | (changes if each == part else {})
        arrays |= {f"{each}_{name}": array for name, array in own.items()}
        text = table if table is not None and each == part else TABLES[each]
        (root / PACKED.format(part=each)).write_bytes(gzip.compress(text.encode()))
    np.savez(root / GRAPHS, **arrays)


@pytest.fixture
def root(tmp_path):
    save(tmp_path)
    return tmp_path


def test_the_published_parts_are_divided_by_row(root):
    source = ChEBI20(data_root=str(root))
    rows = {name: [int(raw.id.split("/")[2]) for raw in source.split(name)] for name in SPLITS}
    assert rows == {"train": [*range(1, 10), 11, 12], "val": [0, 10], "test": [0, 1, 2, 3]}
    for name in SPLITS:
        part = "test" if name == "test" else "validation"
        for row, raw in zip(rows[name], source.split(name), strict=True):
            assert list(raw.contents) == ["graph", "text"]
            assert raw.contents["text"] == f'The "{part}" molecule {row}.'
            assert int(raw.contents["graph"]["node_features"][0, 0]) == row + 1


def test_the_published_tables_give_the_same_samples(root, tmp_path, listed, monkeypatch):
    published = tmp_path / "published"
    published.mkdir()
    for part, text in TABLES.items():
        (published / f"{part}.txt").write_text(text)

    def made(smiles, *, where):
        assert all(text.startswith("F/C=C\\") and "\\\\" not in text for text in smiles)
        return Molecules(where=where, arrays=lone_atoms([int(text.removeprefix("F/C=C\\")) for text in smiles]))

    monkeypatch.setattr(chebi20, "URL", published.as_uri() + "/{part}.txt")
    monkeypatch.setattr(chebi20, "made_molecules", made)
    empty = tmp_path / "empty"
    with pytest.raises(FileNotFoundError, match=r"validation\.tsv\.gz.*validation\.txt.*download=true"):
        ChEBI20(data_root=str(empty)).split("train")
    ours = listed(ChEBI20(data_root=str(root)))
    assert listed(ChEBI20(data_root=str(empty), download=True)) == ours
    assert (empty / ORIGINAL.format(part="test")).is_file()
    (empty / GRAPHS).write_bytes((root / GRAPHS).read_bytes())
    monkeypatch.setattr(chebi20, "made_molecules", None)  # with the graphs beside the tables nothing is made
    assert listed(ChEBI20(data_root=str(empty))) == ours


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("CID\tSMILES\n1\tC\n", r"has the columns \['CID', 'SMILES'\]; expected"),
        ("CID\tSMILES\tdescription\n1\tC\tText.\n2\tC\t \n", "row 1 lacks the CID, the SMILES or the description"),
        ("CID\tSMILES\tdescription\n1\tC\n", "row 0 lacks"),
        ("CID\tSMILES\tdescription\nC\t1\tText.\n", "row 0 lacks"),
    ],
)
def test_a_bad_table_is_told(tmp_path, table, message):
    save(tmp_path, "test", table)
    with pytest.raises(ValueError, match=rf"test\.tsv\.gz.*{message}"):
        ChEBI20(data_root=str(tmp_path)).split("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cid": np.arange(13)}, r"holds other molecules than .*validation\.tsv\.gz: validation_cid is not"),
        (lone_atoms(range(1, 13)), r"holds 12 molecules for the 13 rows of"),
    ],
)
def test_graphs_of_other_molecules_are_told(tmp_path, changes, message):
    save(tmp_path, **changes)
    with pytest.raises(ValueError, match=rf"chebi20_graphs\.npz {message}"):
        ChEBI20(data_root=str(tmp_path)).split("train")


def test_the_real_set_has_its_published_size(shared_data):
    source = ChEBI20(data_root=str(shared_data))
    assert [len(source.split(name)) for name in SPLITS] == [2970, 331, 3300]
    assert source.n_dropped == 0
    words = [len(raw.contents["text"].split()) for name in SPLITS for raw in source.split(name)]
    assert sum(words) / len(words) == pytest.approx(44, abs=0.5)


def test_rdkit_makes_the_real_graphs_from_the_real_tables(shared_data, tmp_path, listed):
    pytest.importorskip("rdkit")
    (tmp_path / "chebi20").mkdir()
    for part in SIZES:
        head = gzip.decompress((shared_data / PACKED.format(part=part)).read_bytes()).split(b"\n")[:201]
        (tmp_path / ORIGINAL.format(part=part)).write_bytes(b"\n".join(head))
    ours, theirs = listed(ChEBI20(data_root=str(tmp_path))), listed(ChEBI20(data_root=str(shared_data)))
    for name, size in {"train": 180, "val": 20, "test": 200}.items():
        assert len(ours[name]) == size
        assert ours[name] == theirs[name][:size]
