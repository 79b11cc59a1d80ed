import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import omniformer.data

CONF = sorted((Path(__file__).parents[2] / "conf" / "data").glob("*.yaml"))


def nodes(value):
    if isinstance(value, dict):
        if "_target_" in value:
            yield value
        for item in value.values():
            yield from nodes(item)


def test_importing_the_package_loads_no_library():
    code = "import sys, omniformer.data; print(sorted({'torch', 'lightning', 'numpy', 'networkx'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("name", omniformer.data.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(omniformer.data, name))


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(AttributeError, match=r"has no attribute 'Digitz'; it has .*Digits"):
        omniformer.data.Digitz  # noqa: B018


@pytest.mark.parametrize("path", CONF, ids=lambda path: path.stem)
def test_keys_of_a_config_are_the_parameters_of_its_classes(path):
    found = list(nodes(yaml.safe_load(path.read_text(encoding="utf-8"))))
    assert found
    assert found[0]["_target_"] == "omniformer.data.Stream"
    for node in found:
        module, _, name = node["_target_"].rpartition(".")
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        assert set(node) - {"_target_", "defaults"} <= set(parameters), node["_target_"]
