from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from omniformer_tokenizers import GraphTokenizer

from omniformer.data.table import molecules
from omniformer.data.table.columnar import ArrowRows
from omniformer.data.table.molecules import (
    ATOM_VOCAB_SIZES,
    BOND_VOCAB_SIZES,
    MoleculeRows,
    Molecules,
    made_molecules,
    read_molecules,
)

# Methane, a row that could not be read, carbon monoxide (C- and O+, a triple bond).
ARRAYS = {
    "node_feat": np.array(
        [[6, 0, 0, 4, 0, 0, 3, 0], [6, 1, -1, 0, 0, 0, 1, 0], [8, 1, 1, 0, 0, 0, 1, 0]], dtype=np.int8
    ),
    "node_ptr": np.array([0, 1, 1, 3]),
    "edge_index": np.array([[1, 2], [2, 1]]),
    "edge_feat": np.array([[2, 0, 0, 0], [2, 0, 0, 0]], dtype=np.int8),
    "edge_ptr": np.array([0, 0, 0, 2]),
    "valid": np.array([True, False, True]),
}


def test_charges_become_categories_and_the_rest_stays(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"test_{name}": array for name, array in ARRAYS.items()})
    read = read_molecules(tmp_path / "a.npz", prefix="test_")
    assert len(read) == 3
    assert read.valid == [True, False, True]
    assert read.graph(2)["node_features"].tolist() == [[6, 1, 7, 0, 0, 0, 1, 0], [8, 1, 9, 0, 0, 0, 1, 0]]
    assert read.graph(2)["edges"].tolist() == [[0, 1], [1, 0]]
    assert read.graph(2)["edge_features"].tolist() == [[2, 0, 0, 0]] * 2


def test_the_tokenizer_takes_molecules_with_the_announced_vocabularies(tmp_path):
    read = Molecules(where=tmp_path, arrays=ARRAYS)
    tokenizer = GraphTokenizer(node_vocab_sizes=ATOM_VOCAB_SIZES, edge_vocab_sizes=BOND_VOCAB_SIZES)
    tokens = tokenizer(read.graph(2))
    assert torch.equal(tokens.values, read.graph(2)["node_features"])
    assert torch.equal(tokens.edge_features, read.graph(2)["edge_features"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid": np.array([True])}, "valid has 1 entries for 3 molecules"),
        ({"node_feat": ARRAYS["node_feat"] * 20}, "node field 0 is category 120 in graph 0; expected 0..118"),
        ({"node_feat": ARRAYS["node_feat"][:, :2]}, r"node features have shape \[3, 2\]; expected \[3, 8\]"),
    ],
)
def test_arrays_that_do_not_fit_are_told(changes, message):
    with pytest.raises(ValueError, match=rf"a\.npz: {message}"):
        Molecules(where=Path("a.npz"), arrays=ARRAYS | changes)


def test_without_rdkit_smiles_are_refused_with_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(molecules, "import_module", missing)
    with pytest.raises(ImportError, match=r"a\.csv holds SMILES, which RDKit reads: pip install rdkit"):
        made_molecules(["C"], where=Path("a.csv"))


def test_rdkit_reads_smiles_into_the_same_arrays():
    pytest.importorskip("rdkit")
    made = made_molecules(["C", "not a molecule", "[C-]#[O+]"], where=Path("a.csv"))
    kept = Molecules(where=Path("a.npz"), arrays=ARRAYS)
    assert made.valid == kept.valid
    for i in range(3):
        for key in ("edges", "node_features", "edge_features"):
            assert torch.equal(made.graph(i)[key], kept.graph(i)[key])


def table(**columns):
    return ArrowRows(
        pa.table({"smiles": ["C", "no molecule", "[C-]#[O+]"], "CID": ["5", "7", "9"], **columns}), "a.csv"
    )


def test_molecules_stand_beside_their_table_and_know_what_their_tokenizer_must(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"test_{name}": array for name, array in ARRAYS.items()}, test_cid=[5, 7, 9])
    rows = MoleculeRows(table(), tmp_path / "a.npz", "test_")
    assert [row["valid"] for row in rows.each(["valid"])] == [True, False, True]
    assert rows.row(1)["graph"] is None
    assert rows.row(2)["graph"]["n_nodes"] == 2
    assert len({row["alike"] for row in rows.each(["alike"])}) == 3
    assert rows.facts() == {"node_vocab_sizes": ATOM_VOCAB_SIZES, "edge_vocab_sizes": BOND_VOCAB_SIZES}
    assert rows.heavy() == {"graph"}


def test_graphs_of_other_molecules_and_tables_without_smiles_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS, cid=[5, 7, 8])
    with pytest.raises(ValueError, match=r"a\.npz holds other molecules than a\.csv: cid is not its column CID"):
        MoleculeRows(table(), tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **ARRAYS)
    with pytest.raises(ValueError, match=r"a\.npz holds 3 molecules for the 2 rows of short"):
        MoleculeRows(ArrowRows(pa.table({"smiles": ["C", "O"]}), "short"), tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.csv has no column 'smiles' to make graphs of; it has CID"):
        MoleculeRows(ArrowRows(pa.table({"CID": ["5"]}), "a.csv"), tmp_path / "none.npz")


def test_molecules_are_alike_however_they_are_written_and_scaffolds_are_their_rings(tmp_path):
    pytest.importorskip("rdkit")
    smiles = ["Cc1ccccc1O", "Oc1ccccc1C", "Cc1cccc(O)c1", "CCO", "CCCO"]
    rows = list(
        MoleculeRows(ArrowRows(pa.table({"SMILES": smiles}), "a.csv"), tmp_path / "none.npz").each(
            ["alike", "scaffold"]
        )
    )
    assert [each["alike"] == rows[0]["alike"] for each in rows] == [True, True, False, False, False]
    assert [each["scaffold"] for each in rows] == ["c1ccccc1"] * 3 + ["chain 3", "chain 4"]
