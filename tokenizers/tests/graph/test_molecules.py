import json
from importlib.util import find_spec

import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, MoleculeTokenizer, load
from omniformer_tokenizers.graph.smiles import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES
from omniformer_tokenizers.media import MediaError

rdkit = pytest.mark.skipif(find_spec("rdkit") is None, reason="needs the extra 'mol'")
# Carbon monoxide, [C-]#[O+], as data sets keep it.
MONOXIDE = {
    "n_nodes": 2,
    "edges": [[0, 1], [1, 0]],
    "node_features": [[6, 1, 7, 0, 0, 0, 1, 0], [8, 1, 9, 0, 0, 0, 1, 0]],
    "edge_features": [[2, 0, 0, 0]] * 2,
}


def test_a_kept_molecule_is_read_as_any_graph_of_its_categories():
    tokens = MoleculeTokenizer(random_walk=2)(MONOXIDE)
    other = GraphTokenizer(
        node_vocab_sizes=ATOM_VOCAB_SIZES, edge_vocab_sizes=BOND_VOCAB_SIZES, max_degree=11, random_walk=2
    )(MONOXIDE)
    assert torch.equal(tokens.values, other.values)
    assert torch.equal(tokens.edges, other.edges)
    assert torch.equal(tokens.edge_features, other.edge_features)
    assert tokens.features.keys() == other.features.keys()


OF_A_SET = {"node_vocab_sizes": ATOM_VOCAB_SIZES, "edge_vocab_sizes": BOND_VOCAB_SIZES}


@rdkit
@pytest.mark.parametrize("tokenizer", [MoleculeTokenizer(), GraphTokenizer(**OF_A_SET)], ids=["molecules", "nodes"])
def test_smiles_are_the_same_tokens_as_the_molecule_that_a_set_keeps(tokenizer):
    assert tokenizer.reads_strings
    read, kept = tokenizer("[C-]#[O+]"), tokenizer(MONOXIDE)
    assert torch.equal(read.values, kept.values)
    assert torch.equal(read.edges, kept.edges)
    assert torch.equal(read.edge_features, kept.edge_features)


@pytest.mark.parametrize("other", [{}, {"node_vocab_sizes": (7,)}, {**OF_A_SET, "edge_features": 1}])
def test_a_string_is_no_molecule_to_a_tokenizer_of_other_graphs(other):
    tokenizer = GraphTokenizer(**other)
    assert not tokenizer.reads_strings
    with pytest.raises(MediaError, match="CCO"):
        tokenizer("CCO")


def test_a_saved_one_of_other_categories_is_refused(tmp_path):
    MoleculeTokenizer().save_pretrained(tmp_path)
    assert load(tmp_path).digest == MoleculeTokenizer().digest
    file = tmp_path / "tokenizer_config.json"
    config = json.loads(file.read_text())
    for changed in ({"edge_vocab_sizes": [22, 8, 2]}, {"node_vocab_sizes": None}):
        file.write_text(json.dumps(config | changed))
        with pytest.raises(ValueError, match=r"categories .* this release reads \[119, .* train again"):
            load(tmp_path)


@rdkit
def test_ethanol_has_two_carbons_and_an_oxygen_in_a_row():
    tokens = MoleculeTokenizer(laplacian=2)("CCO")
    assert tokens.values[:, 0].tolist() == [6, 6, 8]
    assert tokens.values[:, 3].tolist() == [3, 2, 1]  # hydrogens
    assert sorted(map(tuple, tokens.edges.T.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert tokens.features["laplacian"].shape == (3, 2)


@rdkit
def test_bonds_tell_their_type():
    tokens = MoleculeTokenizer()("C=O")
    assert tokens.edge_features[:, 0].tolist() == [1, 1]
    assert set(MoleculeTokenizer()("c1ccccc1").edge_features[:, 0].tolist()) == {3}


@rdkit
@pytest.mark.parametrize("smiles", ["", "[Na+].[Cl-]", "C", "[U]", "N[C@@H](C)C(=O)O", "F/C=C/F", "[2H]O[2H]"])
def test_categories_stay_inside_their_vocabularies(smiles):
    tokens = MoleculeTokenizer()(smiles)
    assert (tokens.values < torch.tensor(ATOM_VOCAB_SIZES)).all()
    assert (tokens.edge_features < torch.tensor(BOND_VOCAB_SIZES)).all()


@rdkit
def test_a_saved_tokenizer_comes_back(tmp_path):
    MoleculeTokenizer(laplacian=2).save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again("CCO").values.tolist() == MoleculeTokenizer(laplacian=2)("CCO").values.tolist()


@rdkit
def test_what_is_no_molecule_is_refused():
    with pytest.raises(ValueError, match="'C1CC' is not a valid SMILES"):
        MoleculeTokenizer()("C1CC")
    with pytest.raises(TypeError, match="received int; expected"):
        MoleculeTokenizer()(3)
