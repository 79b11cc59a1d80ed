"""Packages of a user's own, importable for a while."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Whatever lies in a folder, as if it were installed; forgotten afterwards, so that another may have its name."""
    names = [path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        yield
        for name in names:
            sys.modules.pop(name, None)
