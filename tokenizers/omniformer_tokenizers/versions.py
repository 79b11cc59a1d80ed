"""What is said where torch and a library built for it do not fit together."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

# Those whose releases are compiled for one torch, and torch itself.
LIBRARIES = ("torchvision", "torchaudio", "torch_geometric", "torch")
_SHARED = re.compile(
    r"\blib(torchvision|torchaudio)\b|\b(torchvision|torchaudio)::|_OpNamespace' '(torchvision|torchaudio)'"
)
_OURS = ("omniformer-framework-tokenizers", "omniformer-framework")


class MismatchError(ImportError):
    """Two libraries that do not fit together; its text names both versions and the line that mends it."""


@contextmanager
def fitting() -> Iterator[None]:
    """Says in one sentence what an import inside dies of, where libraries do not fit together.

    Raises:
        MismatchError: torch, or a library built for it, cannot be loaded.
    """
    try:
        yield
    except Exception as error:
        if told := mismatch(error):
            raise told from error
        raise


def mismatch(error: BaseException) -> MismatchError | None:
    """The sentence for an error that comes of versions that do not fit, None for any other.

    Such errors have no type of their own: a shared object lacks a symbol (OSError, ImportError), an operator was never
    registered (RuntimeError), a name is gone (AttributeError). What they share is that a library fails while it is
    imported, or that the message names a library's shared object or operator.

    Args:
        error: as it was raised; where it comes from is read off its traceback.

    Example:
        >>> print(mismatch(KeyError("a")))
        None
    """
    if isinstance(error, MismatchError):
        return error
    library = _culprit(error)
    return None if library is None else MismatchError(_sentence(library, error))


def _culprit(error: BaseException) -> str | None:
    if isinstance(error, Warning):
        return None  # where warnings are errors, a deprecation is one
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("torch."):
        return None  # a library that is not installed; a part of torch that is missing is another version's
    found, step = None, error.__traceback__
    while step is not None:
        frame = step.tb_frame
        root = str(frame.f_globals.get("__name__")).partition(".")[0]
        if root in LIBRARIES and frame.f_code.co_name == "<module>":
            found = root
        step = step.tb_next
    if found is None and isinstance(error, OSError | RuntimeError | ImportError | AttributeError):
        named = _SHARED.search(str(error))
        found = next(filter(None, named.groups())) if named else None
    return found


def _sentence(library: str, error: BaseException) -> str:
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    what = f"{library} {_version(library)}"
    if library == "torch":
        return f"{what} cannot be loaded ({said}): {_mend('torch')}"
    return f"{what} and torch {_version('torch')} do not fit together ({said}): {_mend('torch', library)}"


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _mend(*libraries: str) -> str:
    """The line that brings versions which fit: that of a clone, or one with the ranges of our own releases."""
    if (Path(__file__).parents[1] / "pyproject.toml").is_file():
        return "uv sync"
    return "pip install --force-reinstall " + " ".join(f"'{each}{_range(each)}'" for each in libraries)


def _range(library: str) -> str:
    """The versions of a library that our own distributions ask for; empty where they say nothing."""
    for ours in _OURS:
        try:
            asked = metadata.requires(ours) or []
        except metadata.PackageNotFoundError:  # the tokenizers may be installed alone
            continue
        for line in asked:
            name, versions = re.match(r"([\w.-]+)\s*([^;]*)", line).groups()  # pyright: ignore[reportOptionalMemberAccess]
            if name.replace("-", "_") == library and versions.strip():
                return versions.strip().strip("()")
    return ""
