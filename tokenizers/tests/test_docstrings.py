"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import omniformer_tokenizers
import pytest

PACKAGE = omniformer_tokenizers.__name__
MODULES = [module.name for module in pkgutil.walk_packages(omniformer_tokenizers.__path__, f"{PACKAGE}.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed
