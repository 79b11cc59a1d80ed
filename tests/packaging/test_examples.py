"""Every example in a docstring runs and prints what it says."""

import doctest
import warnings
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOTS = {"omniformer": REPOSITORY, "omniformer_tokenizers": REPOSITORY / "tokenizers"}


def modules_with_examples() -> list[str]:
    found = []
    for package, root in ROOTS.items():
        for path in sorted((root / package).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                found.append(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"))
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_print_what_they_say(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library says while it is imported is not the example's business
        module = import_module(name)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.testmod(module, optionflags=options).failed == 0
