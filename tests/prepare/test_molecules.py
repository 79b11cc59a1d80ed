"""Molecules in SMILES: told from words, and named in one way, with rdkit and without."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from omniformer.prepare.molecules import canonical, share_of_molecules

SMILES = ["c1ccccc1", "CC(=O)O", "C[N+](C)C", "ClC=C"]


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)


@pytest.fixture
def with_rdkit(monkeypatch):
    """An rdkit that reads what has no Q, and writes it in capitals."""
    library = ModuleType("rdkit")
    library.Chem = SimpleNamespace(MolFromSmiles=lambda s: None if "Q" in s else s, MolToSmiles=str.upper)
    library.RDLogger = SimpleNamespace(DisableLog=lambda name: None)
    monkeypatch.setitem(sys.modules, "rdkit", library)


def test_without_rdkit_letters_decide_and_a_molecule_has_the_name_it_is_given(without):
    assert share_of_molecules(SMILES, "x") == (1.0, "are written as SMILES")
    assert share_of_molecules(["fine (very)", "dull"], "x")[0] == 0
    assert share_of_molecules(["cat(s)", "dog(s)"], "x")[0] == 0
    assert canonical("C=C") == "C=C"


def test_names_of_rows_that_have_the_letters_of_atoms_are_no_molecules(without):
    assert share_of_molecules([f"P{i}" for i in range(100)], "patient")[0] < 0.1
    assert share_of_molecules([f"C{i}-B(" for i in range(100)], "place")[0] == 0
    assert share_of_molecules(["C%10CCCCC%10", "[13CH4]", "C1=CC=C(C=C1)[N+](=O)[O-]"], "x")[0] == 1


def test_with_rdkit_it_decides_and_names(with_rdkit):
    assert share_of_molecules([*SMILES, "CC(Q)"], "x") == (0.8, "are SMILES that rdkit reads")
    assert canonical("c=c") == "C=C"
    with pytest.raises(ValueError, match="'Q' is no molecule that rdkit reads"):
        canonical("Q")


def test_short_formulas_are_molecules_where_the_column_says_so(without):
    assert share_of_molecules(["CCO", "CCN", "C"], "compound")[0] == 0
    assert share_of_molecules(["CCO", "CCN", "C"], "SMILES")[0] == 1
