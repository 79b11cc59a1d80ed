"""Models by name, published ones and our own, from the hub of the reference library and to it.

What is trusted: that hub, the connection to it, and whoever owns the name. What arrives can say wrong things but cannot
run: configurations and tokenizers are JSON and text, weights are safetensors. Pickled weights are never fetched, and no
code of a model either. A name can point to other files tomorrow; the hash of a commit as `revision` cannot. Every file
that is read has the hash under which the hub keeps it.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any

from omniformer_tokenizers.files import files_below

from omniformer.files.untrusted import plain_name
from omniformer.pretrained.files.checkpoint import read_json
from omniformer.pretrained.files.companions import LENGTH_FILES, MODULES_FILE, PATTERNS, SETTINGS_FILE

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
"""What is fetched of a model, beside `OF_A_STEP` in the folders that its `MODULES_FILE` names."""
OWN = (
    *(f"tokenizers/*{suffix}" for suffix in (".json", ".safetensors", ".model", ".txt")),
    *(f"published/{each}" for each in PATTERNS),
)
"""What is fetched as well of a model that `omniformer.save` wrote."""

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(@[\w.-]+)?")
_STRETCH = 1 << 20  # bytes that are hashed at once


def is_name(text: str | Path) -> bool:
    """Whether this may be the name of a model on the hub, `owner/model` or `model`, and no path; `owner/model@revision`
    names a branch, a tag or the hash of a commit of it.

    Example:
        >>> is_name("openai-community/gpt2"), is_name("./gpt2"), is_name("/models/gpt2"), is_name("me/pets@0a1b2c")
        (True, False, False, True)
    """
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def local(folder: str | Path, revision: str | None = None) -> Path:
    """The folder on this machine, or the file in it; what is a name of the hub is fetched.

    Args:
        folder: a path, or a name.
        revision: of a name: a branch, a tag or the hash of a commit; also `owner/model@revision`.

    Raises:
        FileNotFoundError: it is neither, or cannot be fetched.
        ValueError: a folder has a revision, or a name two; or a file is not what the hub says that it is.
    """
    if Path(folder).exists():
        if revision is not None:
            raise ValueError(f"revision={revision!r} is of a model on the hub; {folder} is a folder here")
        return Path(folder)
    if not is_name(folder):
        raise FileNotFoundError(f"{folder} is no folder; give one that holds config.json and weights")
    name, _, pinned = str(folder).partition("@")
    if pinned and revision is not None:
        raise ValueError(f"{folder} names a revision, and revision={revision!r} another; give one of them")
    return fetch(name, revision=revision or pinned or None)


def fetch(name: str, *, revision: str | None = None) -> Path:
    """The folder of a model on the hub, fetched unless it was before.

    Args:
        name: `owner/model`.
        revision: a branch, a tag or the hash of a commit; the main branch by default.

    Raises:
        FileNotFoundError: there is no such folder, and the model cannot be fetched: the optional library is missing,
            there is no network, or no such model for this user. Says which, and what to do.
        ValueError: its `MODULES_FILE` is damaged, or names what is no folder; or a file is not what the hub says. Names
            the file.
    """
    folder = _fetched(name, revision, FILES)
    if more := (*_of_steps(folder / MODULES_FILE), *(OWN if is_own(folder) else ())):
        commit = folder.name if folder.parent.name == "snapshots" else revision  # the branch may have moved on
        folder = _fetched(name, commit, (*FILES, *more))
    refuse_changed(folder)
    return folder


def is_own(folder: Path) -> bool:
    """Whether a folder is one that `omniformer.save` wrote, by what its `config.json` says."""
    path = folder / "config.json"
    return path.is_file() and "members" in read_json(path)


def refuse_changed(folder: Path) -> None:
    """Refuses a folder in the cache of the hub with a file whose content has another hash than the hub says: SHA-256 of
    large files, that of git of small ones. Where a system has no links, the cache does not say the hashes.

    Raises:
        ValueError: names the file.
    """
    for path in folder.rglob("*"):
        blob = path.resolve()
        if path.is_file() and blob.parent.name == "blobs" and _hash(blob, blob.name) != blob.name:
            raise ValueError(f"{path} is damaged: its content has another hash than on the hub; remove {blob}")


def _hash(path: Path, expected: str) -> str:
    """The hash of a file, of the kind that is expected."""
    git = len(expected) == 40
    found = hashlib.sha1(usedforsecurity=False) if git else hashlib.sha256()
    if git:
        found.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while stretch := file.read(_STRETCH):
            found.update(stretch)
    return found.hexdigest()


def _is_read(path: str, more: Sequence[str] = OWN) -> bool:
    """Whether `fetch` brings a file."""
    return any(fnmatchcase(path, each) for each in (*FILES, *more))


def sendable(folder: Path) -> tuple[list[str], list[str]]:
    """The files of a model's folder that `fetch` would bring back, and those that it would not, by their paths from
    there on.

    Args:
        folder: of a published model, or the `model` folder of a run.
    """
    more = (*_of_steps(folder / MODULES_FILE), *(OWN if is_own(folder) else ()))
    found = files_below(folder)
    sent = [each for each in found if _is_read(each, more)]
    return sent, [each for each in found if each not in sent]


def send(name: str, files: Mapping[str, bytes | Path], *, private: bool | None = None, said: str) -> tuple[str, bool]:
    """Puts files into a repository of the hub as one commit; it is made where there is none. Of the files there, those
    that `fetch` would read with the new ones go.

    Args:
        name: `owner/model`.
        files: by their paths in it.
        private: whether a new one is seen by nobody else; None for what its owner's settings say, which is public for
            most.
        said: the message of the commit.

    Returns:
        The hash of the commit, and whether the repository is private.

    Raises:
        ValueError: the library is missing, the hub refuses or cannot be reached, or a repository that is there already
            is public and shall not be. No token is ever said.
    """
    try:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    except ImportError as error:
        raise ValueError("to push to the hub, install the library that does (pip install huggingface-hub)") from error
    hub = HfApi()
    with _told(name):
        hub.create_repo(name, private=private, exist_ok=True)
        there = hub.model_info(name)
    seen, known = bool(there.private), [each.rfilename for each in there.siblings or ()]
    if private and not seen:
        raise ValueError(f"{name} is there already, and public; make it private on the hub, or push to another name")
    with _told(name):
        adds = [CommitOperationAdd(each, content) for each, content in files.items()]
        gone = [CommitOperationDelete(each) for each in known if each not in files and _is_read(each)]
        return hub.create_commit(name, [*adds, *gone], commit_message=said).oid, seen


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever fails in the library, in its client or on the network, in one sentence without the user's token."""
    from huggingface_hub import get_token

    try:
        yield
    except Exception as error:
        causes = [error, *([error.__cause__] if error.__cause__ is not None else [])]
        told = ": ".join(dict.fromkeys((str(each).strip() or type(each).__name__).splitlines()[0] for each in causes))
        token = get_token()
        told = told.replace(token, "(token)") if token else told
        raise ValueError(
            f"cannot push to {name!r}: {told}; look at the name and the network, and log in with hf auth login, or set "
            "HF_TOKEN to a token that may write"
        ) from None


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
