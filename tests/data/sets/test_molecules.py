from pathlib import Path

import numpy as np
import pytest
import torch
from omniformer_tokenizers import GraphTokenizer

from omniformer.data.sets import molecules
from omniformer.data.sets.molecules import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES, Molecules, made_molecules, read_molecules

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
