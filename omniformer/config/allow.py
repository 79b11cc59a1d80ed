"""Which classes and functions a configuration may name: a list of what is allowed, not of what is forbidden."""

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from omniformer.config.source import Definition, find

# Ours: classes and functions alike. The configuration machinery itself is no part of anything.
OURS = ("omniformer.", "omniformer_tokenizers.")
NEVER = ("omniformer.config.",)
# Theirs: classes only, in the modules that define parts of a training run.
THEIRS = (
    "lightning.pytorch.callbacks.",
    "lightning.pytorch.loggers.",
    "lightning.pytorch.profilers.",
    "lightning.pytorch.strategies.",
    "lightning.pytorch.trainer.trainer.Trainer",
    "torch.nn.modules.",
    "torch.optim.",
    "torchmetrics.",
)

_own: ContextVar[tuple[str, ...]] = ContextVar("allow_targets", default=())


class NotAllowedError(ValueError):
    """A `_target_` outside the allow list."""


@contextmanager
def allowing(own: Sequence[str]) -> Iterator[None]:
    """Also allows what a user names in `allow_targets`, while the context lasts.

    Args:
        own: packages (`mypackage`), modules, or single classes (`mypackage.nets.Net`).

    Raises:
        ValueError: an entry is no dotted name.

    Example:
        >>> with allowing(["json.decoder"]):
        ...     allowed("json.JSONDecoder").path
        'json.decoder.JSONDecoder'
    """
    for entry in own:
        if not all(part.isidentifier() for part in entry.removesuffix(".").split(".")):
            raise ValueError(f"allow_targets: received {entry!r}, accepted: names of packages, such as 'mypackage'")
    token = _own.set(tuple(f"{entry.removesuffix('.')}." for entry in own))
    try:
        yield
    finally:
        _own.reset(token)


def allowed(target: str) -> Definition:
    """The definition of a `_target_`, where the allow list holds the place that really defines it.

    The question is asked of the definition and not of the name, so that an alias such as `omniformer.batch.os.system`
    leads nowhere. Nothing is imported.

    Raises:
        LookupError: there is no such class or function.
        NotAllowedError: it is defined outside the list.

    Example:
        >>> allowed("torch.optim.AdamW").path
        'torch.optim.adamw.AdamW'
    """
    if not isinstance(target, str):
        raise LookupError(f"received {target!r}, accepted: the dotted path of a class or function")
    top = target.split(".")[0]
    if top not in {entry.split(".")[0] for entry in (*OURS, *THEIRS, *_own.get())}:
        raise NotAllowedError(_refusal(target, target))
    definition = find(target)
    if not _is_allowed(definition):
        raise NotAllowedError(_refusal(target, definition.path))
    return definition


def _is_allowed(definition: Definition) -> bool:
    path = f"{definition.path}."
    decorators = {ast.unparse(each) for each in definition.node.decorator_list}
    is_method = "." in definition.qualname and not definition.is_class
    if path.startswith(NEVER) or (is_method and not decorators & {"classmethod", "staticmethod"}):
        return False
    if path.startswith(OURS) or any(path.startswith(entry) for entry in _own.get()):
        return True
    return definition.is_class and any(path.startswith(entry) for entry in THEIRS)


def _refusal(target: str, path: str) -> str:
    what = f"{target!r}" if path == target else f"{target!r} (defined as {path!r})"
    return (
        f"{what} is not allowed as _target_; accepted: omniformer, omniformer_tokenizers, and the optimizers, layers, "
        f"metrics, callbacks, loggers, strategies and profilers of torch, torchmetrics and lightning; code of your own "
        "that you trust: name its package in allow_targets, as in allow_targets=[mypackage]"
    )
