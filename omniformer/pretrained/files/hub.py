"""Published models by name, from the hub of the reference library.

What is trusted: that hub, the connection to it, and whoever owns the name. What arrives can say wrong things but cannot
run: configurations and tokenizers are JSON and text, weights are safetensors. Pickled weights are never fetched, and no
code of a model either. A name can point to other files tomorrow; the hash of a commit as `revision` cannot.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omniformer.pretrained.files.companions import PATTERNS

FILES = ("config.json", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors", *PATTERNS)
"""What is fetched of a model, and nothing else."""

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def is_name(text: str | Path) -> bool:
    """Whether this may be the name of a model on the hub, `owner/model` or `model`, and no path.

    Example:
        >>> is_name("openai-community/gpt2"), is_name("./gpt2"), is_name("/models/gpt2")
        (True, False, False)
    """
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def fetch(name: str, *, revision: str | None = None) -> Path:
    """The folder of a model on the hub, fetched unless it was before.

    Args:
        name: `owner/model`.
        revision: a branch, a tag or the hash of a commit; the main branch by default.

    Raises:
        FileNotFoundError: there is no such folder, and the model cannot be fetched: the optional library is missing,
            there is no network, or no such model for this user. Says which, and what to do.
    """
    try:
        return Path(_snapshot()(name, revision=revision, allow_patterns=list(FILES)))
    except ImportError as error:
        raise FileNotFoundError(
            f"{name!r} is no folder here; to fetch the model of that name from the hub, install the library that does "
            "(pip install huggingface-hub), or give a folder"
        ) from error
    except (OSError, ValueError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"{name!r} is no folder here, and cannot be fetched from the hub either: {said}; look at the name, the "
            "network and your access, or copy the model's folder here and give its path"
        ) from error


def _snapshot() -> Callable[..., Any]:
    from huggingface_hub import snapshot_download

    return snapshot_download
