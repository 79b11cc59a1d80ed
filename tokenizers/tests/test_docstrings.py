"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import omniformer_tokenizers
import pytest

MODULES = [module.name for module in pkgutil.iter_modules(omniformer_tokenizers.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, _ = doctest.testmod(importlib.import_module(f"omniformer_tokenizers.{name}"))
    assert not failed
