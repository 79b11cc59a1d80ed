"""What saved folders and people's configurations said yesterday still leads to the same parts."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from omniformer.config import build
from omniformer.config.allow import within
from omniformer.config.moved import MOVED, current
from omniformer.config.signature import signature
from omniformer.config.source import find, module


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
