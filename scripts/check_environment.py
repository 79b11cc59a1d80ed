"""Imports the libraries that everything here stands on, and says which of them cannot be.

Run: `uv run python scripts/check_environment.py`. It prints name, version and seconds of each; the first that cannot be
imported ends it with exit status 1 and one line.
"""

import importlib
import sys
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version

# By what imports what: the first that fails is the cause.
LIBRARIES = ("torch", "torchvision", "torchaudio", "torch_geometric", "lightning", "hydra")
DISTRIBUTIONS = {"hydra": "hydra-core"}


def main(libraries: Sequence[str] = LIBRARIES) -> int:
    """Imports them one after the other; returns the exit status."""
    for name in libraries:
        start = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what a library says of its own insides
                importlib.import_module(name)
            print(f"{name:16}{version(DISTRIBUTIONS.get(name, name)):14}{time.monotonic() - start:5.1f} s", flush=True)
        except Exception as error:
            said = " ".join(str(error).split()) or "no message"
            print(f"{name} cannot be imported: {type(error).__name__}: {said}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
