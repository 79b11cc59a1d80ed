"""Published models by name, from the hub of the reference library.

What is trusted: that hub, the connection to it, and whoever owns the name. What arrives can say wrong things but cannot
run: configurations and tokenizers are JSON and text, weights are safetensors. Pickled weights are never fetched, and no
code of a model either. A name can point to other files tomorrow; the hash of a commit as `revision` cannot.
"""

import re
from collections.abc import Callable, Sequence
from glob import escape
from pathlib import Path
from typing import Any

from omniformer.pretrained.files.checkpoint import read_json
from omniformer.pretrained.files.companions import LENGTH_FILES, MODULES_FILE, PATTERNS, SETTINGS_FILE
from omniformer.untrusted import plain_name

OF_A_STEP = ("config.json", "model.safetensors")
FILES = (
    *OF_A_STEP,
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    *PATTERNS,
    MODULES_FILE,
    SETTINGS_FILE,
    *LENGTH_FILES,
)
"""What is fetched of a model, and nothing else but `OF_A_STEP` in the folders that its `MODULES_FILE` names."""

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
        ValueError: its `MODULES_FILE` is damaged, or names what is no folder; names the file.
    """
    folder = _fetched(name, revision, FILES)
    steps = _of_steps(folder / MODULES_FILE)
    return _fetched(name, revision, (*FILES, *steps)) if steps else folder


def _of_steps(path: Path) -> list[str]:
    """Patterns of the files in the folders that a `MODULES_FILE` names, where there is one."""
    steps = read_json(path, kind=list) if path.is_file() else []
    places = [Path(str(step["path"])) for step in steps if isinstance(step, dict) and step.get("path")]
    named = ["/".join(plain_name(part, path) for part in place.parts) for place in places]
    return [f"{escape(place)}/{name}" for place in named for name in OF_A_STEP]


def _fetched(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    try:
        return Path(_snapshot()(name, revision=revision, allow_patterns=list(patterns)))
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
