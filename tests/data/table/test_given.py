from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, MoleculeTokenizer

from omniformer.data import Table
from omniformer.data.table.given import GivenRows, told_of_table
from omniformer.data.table.molecules import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES

SMILES = ["CCO", "C[C@H](N)C(=O)O", "C1CC", "[C-]#[O+]", "c1ccccc1/C=C/F"]
needs_rdkit = pytest.mark.skipif(find_spec("rdkit") is None, reason="needs rdkit")


@pytest.mark.parametrize(
    ("files", "beside"),
    [
        ("a.csv + molecules:a.npz", ("molecules:",)),
        (["a.csv + molecules:a.npz::test_", "b.csv"], ("molecules:",)),
        ({"train": "a.csv", "test": ["b.csv + molecules:b.npz"]}, ("molecules:",)),
        ("molecules: of water.csv + lines:a", None),
        (None, None),
    ],
)
def test_what_stood_beside_a_table_and_is_made_of_it_is_told(files, beside):
    told = told_of_table({"source": {"files": files, "columns": {"graph": "graph"}}})
    assert told == {"columns": {"graph": "graph"}} | ({"beside": beside} if beside else {})


@needs_rdkit
def test_molecules_of_a_new_table_are_those_of_training_bit_for_bit(tmp_path):
    (file := tmp_path / "known.csv").write_text("\n".join(["smiles,y", *(f"{each},1" for each in SMILES)]) + "\n")
    source = {"files": f"{file} + molecules:none.npz", "columns": {"graph": "graph", "y": "value"}}
    trained = [
        raw.contents["graph"]
        for raw in Table(**source, splits={"out": "valid == false"}, shares=[1, 0, 0]).split("train")
    ]
    (new := tmp_path / "new.csv").write_text("\n".join(["SMILES", *SMILES]) + "\n")
    refused: list[Exception] = []
    rows = GivenRows(str(new), **(told_of_table({"source": source}) or {}))
    given = [contents["graph"] for _, contents in rows.each(refused.append)]
    assert [str(each) for each in refused] == [f"{new}, row 3: RDKit cannot read its SMILES"]
    by_string = MoleculeTokenizer(random_walk=3)
    of_graphs = GraphTokenizer(
        node_vocab_sizes=ATOM_VOCAB_SIZES, edge_vocab_sizes=BOND_VOCAB_SIZES, max_degree=11, random_walk=3
    )
    good = [each for each in SMILES if each != "C1CC"]
    for one in (given, good):
        for kept, now in zip(trained, one, strict=True):
            a, b = of_graphs(kept), by_string(now)
            assert torch.equal(a.values, b.values)
            assert torch.equal(a.edges, b.edges)
            assert torch.equal(a.edge_features, b.edge_features)
            assert torch.equal(a.features["random_walk"], b.features["random_walk"])


def test_a_table_that_has_the_graphs_itself_is_read_as_it_is(tmp_path):
    (new := Path(tmp_path, "new.jsonl")).write_text('{"graph": {"n_nodes": 2, "edges": [[0, 1]]}}\n')
    ((_, contents),) = GivenRows(str(new), columns={"graph": "graph"}, beside=["molecules:"])
    assert contents["graph"]["n_nodes"] == 2
