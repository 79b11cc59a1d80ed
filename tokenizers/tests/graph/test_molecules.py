import pytest
import torch

pytest.importorskip("rdkit", reason="needs the extra 'mol'")

from omniformer_tokenizers import MoleculeTokenizer, load
from omniformer_tokenizers.graph.molecules import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES


def test_ethanol_has_two_carbons_and_an_oxygen_in_a_row():
    tokens = MoleculeTokenizer(laplacian=2)("CCO")
    assert tokens.values[:, 0].tolist() == [6, 6, 8]
    assert tokens.values[:, 3].tolist() == [3, 2, 1]  # hydrogens
    assert sorted(map(tuple, tokens.edges.T.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert tokens.features["laplacian"].shape == (3, 2)


def test_bonds_tell_their_type():
    tokens = MoleculeTokenizer()("C=O")
    assert tokens.edge_features[:, 0].tolist() == [2, 2]
    assert set(MoleculeTokenizer()("c1ccccc1").edge_features[:, 0].tolist()) == {12}


@pytest.mark.parametrize("smiles", ["", "[Na+].[Cl-]", "C", "[U]", "N[C@@H](C)C(=O)O", "F/C=C/F", "[2H]O[2H]"])
def test_categories_stay_inside_their_vocabularies(smiles):
    tokens = MoleculeTokenizer()(smiles)
    assert (tokens.values < torch.tensor(ATOM_VOCAB_SIZES)).all()
    assert (tokens.edge_features < torch.tensor(BOND_VOCAB_SIZES)).all()


def test_a_saved_tokenizer_comes_back(tmp_path):
    MoleculeTokenizer(laplacian=2).save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again("CCO").values.tolist() == MoleculeTokenizer(laplacian=2)("CCO").values.tolist()


def test_what_is_no_molecule_is_refused():
    with pytest.raises(ValueError, match="'C1CC' is not a valid SMILES"):
        MoleculeTokenizer()("C1CC")
    with pytest.raises(TypeError, match="received int where SMILES"):
        MoleculeTokenizer()(3)
