"""Of which kind columns are: one of each, and the near misses."""

import pytest

from omniformer.prepare.columns import Column
from omniformer.prepare.guesses import guess, is_target_name

SMILES = ["CCO", "c1ccccc1", "CC(=O)O", "C1CC1", "CC(C)C", "O=C=O", "C#N", "CC(=O)C", "c1ccncc1", "C1CCCCC1", "CC=C"]
WORDS = ["a fine film", "a dull one", "what a long evening it was", "not bad at all", "great fun for all of us"]


def of(name, cells):
    return guess(Column(name=name, by_row=cells))


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("photo", ["a/1.png", "a/2.PNG"], "vision"),
        ("sound", ["1.wav", "2.flac"], "audio"),
        ("clip", ["1.mp4", "2.mp4"], "video"),
        ("image", [b"\x89PNG....", b"\x89PNG...."], "vision"),
        ("image", [{"bytes": b"\xff\xd8\xff", "path": None}] * 2, "vision"),
        ("audio", [{"bytes": b"RIFF0000WAVE", "path": "x.wav"}] * 2, "audio"),
        ("audio", [{"array": [x], "sampling_rate": 8000} for x in (0.0, 0.1)], "audio"),
        ("molecule", [{"n_nodes": 1, "edges": []}, {"n_nodes": 2, "edges": [[0, 1]]}], "graph"),
        ("smiles", SMILES, "graph"),
        ("compound", SMILES, "graph"),
        ("review", WORDS, "text"),
        ("words", [["Ada", "saw"], ["Bern", "is"], ["so", "far"]], "words"),
        ("tags", [["a", "b"], ["a"], ["b"]] * 5, "tags"),
        ("tags", ["red; blue", "blue", "red; blue"] * 5, "tags"),
        ("reading", [[0.1, 0.2], [0.3]], "series"),
        ("reading", ["1 2.5 nan 4 5 6 7 8", "1 2 3 4 5 6 7 8 9"], "series"),
        ("reading", ["[1, 2, 3, 4, 5, 6, 7, 8.5]"] * 2 + ["[[1, 2], [3, 4], 5, 6, 7, 8, 9, 1]"], "series"),
        ("dialled", ["089 12 34 56", "030 65 43 21", "040 11 22 33"] * 9, "category"),
        ("caption", ["a red dot, seen left", "a blue dot, seen left"] * 9, "text"),
        ("caption", ["red dot", "blue dot", "dot"] * 9, "category"),
        ("mood", ["good", "bad", "fair"] * 10, "category"),
        ("stars", ["0", "1", "2", "3"] * 10, "category"),
        ("label", ["3", "7", "9"] * 10, "category"),
        ("class", ["alif", "ba", "ta"] * 2, "category"),
        ("class", ["alif", "ba", "ta"], "name"),
        ("letter", ["alif", "ba", "ta"] * 2, "text"),
        ("target", [f"the {each} runs home" for each in ("dog", "cat", "owl")] * 2, "text"),
        ("asked", ["what is it?", "is it red? "] * 10, "text"),
        ("asked", ["what is it?", "red"] * 10, "category"),
        ("toxic", ["0", "1", "1", "0"], "yes_no"),
        ("active", [True, False, None, True], "yes_no"),
        ("price", ["1.5", "2", "NA", "3e2"], "number"),
        ("rooms", ["3", "7", "9"] * 10, "number"),
        ("split", ["train", "test", "train", "dev"], "split"),
        ("fold", ["1", "2", "3", "1", "2"], "split"),
        ("mol_id", ["TOX1", "TOX2", "TOX3"], "id"),
        ("n", [str(i) for i in range(5, 25)], "id"),
        ("compound", ["Amigdalin", "Fenfuram", "citral", "Picene", "Thiophene"], "name"),
        ("seen", ["2024-01-13", "2024-02-01 12:30", "2024-03-30T01:02:03Z"], "date"),
        ("seen", ["13.1.2024", "1.12.2023"], "date"),
        ("price", ["47,72", "1.234,5", "3"], "comma"),
        ("found", ["a cold for 3 days; tired and pale", "tired and pale; a cold for 3 days"] * 5, "category"),
        ("empty", [None, None], "nothing"),
        ("same", ["x", "x", "x"], "constant"),
    ],
)
def test_a_column_of_each_kind(name, cells, kind):
    found = of(name, cells)
    assert (found.kind, bool(found.why)) == (kind, True)


def test_words_that_happen_to_be_formulas_are_no_molecules():
    assert of("element", ["C", "N", "O", "Cl", "B", "P", "S", "F", "I", "Br", "CO"]).kind != "graph"


def test_an_id_that_is_there_twice_is_none():
    assert of("mol_id", ["TOX1", "TOX2", "TOX2"]).kind != "id"


@pytest.mark.parametrize(("name", "called"), [("class", True), ("label_id", True), ("y", True), ("city", False)])
def test_names_of_targets(name, called):
    assert is_target_name(name) is called
