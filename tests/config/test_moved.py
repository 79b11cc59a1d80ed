"""What saved folders and people's configurations said yesterday still leads to the same parts."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from omniformer.config import build
from omniformer.config.allow import within
from omniformer.config.errors import ConfigError
from omniformer.config.moved import MOVED, RENAMED, ROWS, brought_up, current
from omniformer.config.signature import signature
from omniformer.config.source import find, module
from omniformer.config.validate import validate_node
from omniformer.data import GraphTables, Table


def classes(name):
    tree = ast.parse(Path(import_module(name).__file__).read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


@pytest.mark.parametrize("old", MOVED)
def test_every_class_of_a_module_that_moved_is_found_under_both_names_and_under_no_third(old):
    assert module(old) is None, "something else has taken the old name"
    for name in classes(MOVED[old]):
        was, now = f"{old}.{name}", f"{MOVED[old]}.{name}"
        assert find(was).path == find(now).path == current(was) == current(now) == now
        assert signature(was).parameters.keys() == signature(now).parameters.keys()
    with pytest.raises(LookupError, match=f"^{MOVED[old]} has no 'Recurent'"):
        find(f"{old}.Recurent")


@pytest.mark.parametrize("old", RENAMED)
def test_a_part_that_is_called_otherwise_is_found_under_its_old_name(old):
    assert find(old).path == current(old) == RENAMED[old] == find(RENAMED[old]).path
    kept = {"_target_": old, "features": 64, "channels": 1, "d_model": 8, "width": 4}
    with within("model"):
        assert type(build(kept)).__name__ == "GridStem"


def test_a_saved_model_is_built_from_the_old_names():
    pair = {
        "_target_": "omniformer.core.EncoderDecoder",
        "encoder": {"_target_": "omniformer.core.recurrent.Recurrent", "d_model": 8, "n_layers": 1},
        "decoder": {
            "_target_": "omniformer.core.recurrent_decoder.RecurrentDecoder",
            "d_model": 8,
            "reader": {"_target_": "omniformer.core.recurrent_decoder.LastReader", "_partial_": True},
        },
    }
    with within("model"):
        assert type(build(pair).decoder.reader).__name__ == "LastReader"


@pytest.mark.parametrize("old", sorted(ROWS))
def test_a_data_set_that_was_a_class_is_the_table_of_its_file(old):
    node = {"_target_": old, "data_root": "here", "download": False}
    validate_node(node, "data.source")
    source = build(node, "data.source")
    assert type(source) is (GraphTables if ROWS[old] == "cora" else Table)
    assert source.name == ROWS[old] and source.ids.startswith(f"{ROWS[old]}/")
    with pytest.raises(FileNotFoundError, match=rf"here/{ROWS[old]}/"):
        source.split("train")
    assert brought_up({"source": node})["source"]["_target_"] == f"omniformer.data.{type(source).__name__}"


def test_a_key_that_an_experiment_lays_over_other_data_is_told_with_what_leaves_it_out():
    node = {"_target_": "omniformer.data.KarateClub", "row_normalise": True}
    with pytest.raises(ConfigError, match=r"row_normalise: unknown key .*~data\.source\.row_normalise leaves it out"):
        validate_node(node, "data.source")


def test_what_such_a_class_did_not_take_is_refused_as_of_any_table():
    with pytest.raises(ConfigError, match="data.source.fold_number"):
        validate_node({"_target_": "omniformer.data.ESOL", "fold_number": 3}, "data.source")
