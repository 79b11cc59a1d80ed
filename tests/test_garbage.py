"""Imports are not searched for cycles; what runs leave is."""

import gc
import subprocess
import sys
import weakref

import pytest

from omniformer.garbage import unsearched

IMPORTS = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count()))  # the first is called last
gc.callbacks.append(lambda phase, info: seen.append(phase))
seen = []
from omniformer.garbage import unsearched
{0}
with unsearched():
    seen.clear()
    import torch
print(len(seen), gc.get_freeze_count() > 100_000, gc.isenabled())
"""


@pytest.mark.quick("True")
@pytest.mark.parametrize("searched", [True, False])
def test_an_import_is_not_searched_then_or_later_and_the_search_is_as_it_was(searched):
    code = IMPORTS.format("" if searched else "gc.disable()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", str(searched), "0"]


class Cycle:
    def __init__(self):
        self.own = self


def test_where_nothing_is_imported_what_was_left_is_found():
    left, before = Cycle(), gc.get_freeze_count()
    found = weakref.ref(left)
    with unsearched():
        del left
    assert gc.get_freeze_count() == before
    gc.collect()
    assert found() is None


def test_an_import_that_fails_leaves_the_search_on():
    with pytest.raises(ImportError), unsearched():
        import omniformer.no_such_module  # noqa: F401  # pyright: ignore[reportMissingImports]
    assert gc.isenabled()
