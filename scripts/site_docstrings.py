"""Reads our docstrings as mkdocstrings expects them: what stands under `Example:` is code, not prose."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Gives the section `Example:` the name that the reader of Google's style knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section of one module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
