"""Lines of JSON that processes wrote until they were killed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def rows(path: Path) -> Iterator[Any]:
    """What was written whole; a kill may tear the last line of a process, at the end of a page of memory."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
