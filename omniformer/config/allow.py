"""Which parts a configuration may name: lists of what is allowed, one for each kind of author, never of what is not.

What may be built is a part: a class of a room whose business it is to hold parts, or one of a few named functions that
make one. Readers, writers and entry points are no parts, whatever package they are in.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from omniformer.config.source import Definition, find, lineage

Scope = Literal["model", "run", "training"]
"""Who wrote the configuration: a saved model may be a stranger's, and so may the `config.yaml` of a run that is
measured again; a training configuration is the user's own. Each scope holds all that stands before it."""
SCOPES: tuple[Scope, ...] = ("model", "run", "training")

OURS = ("omniformer.", "omniformer_tokenizers.")


@dataclass(frozen=True, slots=True)
class Room:
    """The classes of a package that are parts.

    Args:
        prefix: where they are defined.
        bases: what they descend from, as places of definition; nothing where every class there is a part.
    """

    prefix: str
    bases: tuple[str, ...] = ()

    def holds(self, definition: Definition) -> bool:
        """Whether this is one of them."""
        if not definition.is_class or not f"{definition.path}.".startswith(self.prefix):
            return False
        return not self.bases or any(each.path in self.bases for each in lineage(definition))


_ROOMS: dict[Scope, tuple[Room, ...]] = {
    "model": (Room("omniformer.core."), Room("omniformer.embedders."), Room("omniformer.heads.")),
    "run": (
        Room(
            "omniformer_tokenizers.",
            ("omniformer_tokenizers.tokenizer.Tokenizer", "omniformer_tokenizers.vision.resampling.Resampling"),
        ),
        Room(
            "omniformer.data.",
            (
                "omniformer.data.source.Source",
                "omniformer.data.samples.Arrangement",
                "omniformer.data.stream.Stream",
                "omniformer.data.augment.augmentation.Augmentation",
                "omniformer.data.mixing.Mixing",
            ),
        ),
        Room("omniformer.tasks.", ("omniformer.tasks.task.Task",)),
        Room(
            "omniformer.generation.",
            ("omniformer.generation.strategy.Strategy", "omniformer.generation.allowed.Allowed"),
        ),
    ),
    "training": (
        Room(
            "omniformer.training.",
            (
                "omniformer.training.optimizers.OptimizerFactory",
                "lightning.pytorch.callbacks.callback.Callback",
                "lightning.pytorch.loggers.logger.Logger",
                "lightning.pytorch.profilers.profiler.Profiler",
            ),
        ),
        Room("omniformer.parallel.", ("lightning.pytorch.strategies.strategy.Strategy",)),
        Room("torch.optim."),
        Room("lightning.pytorch.profilers."),
        Room("lightning.pytorch.strategies."),
    ),
}
# Single classes and functions, by a public name of theirs. A function is a part only where it stands here.
_NAMED: dict[Scope, dict[str, tuple[str, ...]]] = {
    "model": {
        "omniformer.core.rules": (
            *("all_of", "any_of", "bigbird", "exphormer", "longformer", "mistral", "sparse_transformer"),
        ),
        "torch.nn": (
            "Dropout",
            "ELU",
            "GELU",
            "Identity",
            "LayerNorm",
            "LeakyReLU",
            "Linear",
            "Mish",
            "ReLU",
            "RMSNorm",
            "SiLU",
            "Tanh",
        ),
    },
    "run": {"omniformer_tokenizers.augment": ("flip_signs",)},
    "training": {
        "lightning": ("Trainer",),
        "omniformer.parallel.compiling": ("Trainer",),
        "lightning.pytorch.callbacks": (
            "DeviceStatsMonitor",
            "EarlyStopping",
            "GradientAccumulationScheduler",
            "LearningRateMonitor",
            "ModelCheckpoint",
            "ModelSummary",
            "RichModelSummary",
            "RichProgressBar",
            "StochasticWeightAveraging",
            "TQDMProgressBar",
            "Timer",
            "WeightAveraging",
        ),
        "lightning.pytorch.loggers": (
            "CometLogger",
            "CSVLogger",
            "MLFlowLogger",
            "TensorBoardLogger",
            "WandbLogger",
        ),
    },
}
# Arguments that open, write, fetch or import something; no saved folder sets them, whatever part would take them.
_OWN_AFFAIRS = frozenset(
    [
        "allow_targets",
        "cache_dir",
        "cache_folder",
        "callbacks",
        "code",
        "default_root_dir",
        "dir",
        "directory",
        "dirpath",
        "download",
        "fetch",
        "file",
        "filename",
        "files",
        "folder",
        "import_path",
        "logger",
        "logging_dir",
        "manifest",
        "module",
        "path",
        "paths",
        "plugins",
        "pretrained",
        "profiler",
        "root",
        "save_dir",
        "script",
        "uri",
        "url",
        "urls",
    ]
)
_WORDS: dict[Scope, str] = {
    "model": "the parts of models (classes of omniformer.core, omniformer.embedders and omniformer.heads, and a few "
    "layers of torch.nn)",
    "run": "the parts of models, and tokenizers, data, tasks and strategies of generation of omniformer",
    "training": "the parts of omniformer (models, tokenizers, data, tasks, optimizers, callbacks, loggers), and the "
    "usual optimizers, callbacks, loggers, strategies and profilers of torch and lightning",
}
_AUTHORS: dict[Scope, str] = {
    "model": "a saved model",
    "run": "the config.yaml of a saved run",
    "training": "a training configuration",
}

_own: ContextVar[tuple[str, ...]] = ContextVar("allow_targets", default=())
_scope: ContextVar[Scope] = ContextVar("scope", default="training")


class NotAllowedError(ValueError):
    """A `_target_` outside the allow list, or an argument that the author of the configuration may not set."""


@contextmanager
def allowing(own: Sequence[str]) -> Iterator[None]:
    """Also allows what a user names in `allow_targets`, while the context lasts.

    Args:
        own: packages (`mypackage`), modules, or single classes (`mypackage.nets.Net`); functions of them as well.

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


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """Allows no more than this scope, while the context lasts; an inner context narrows and never widens.

    Example:
        >>> with within("model"):
        ...     allowed("torch.optim.AdamW")
        Traceback (most recent call last):
        omniformer.config.allow.NotAllowedError: 'torch.optim.AdamW' (defined as 'torch.optim.adamw.AdamW') is ...
    """
    token = _scope.set(SCOPES[min(SCOPES.index(scope), SCOPES.index(_scope.get()))])
    try:
        yield
    finally:
        _scope.reset(token)


def allowed(target: str) -> Definition:
    """The definition of a `_target_`, where the list of the present scope holds the place that really defines it.

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
    if top not in {entry.split(".")[0] for entry in (*OURS, "torch", "lightning", *_own.get())}:
        raise NotAllowedError(_refusal(target, target))
    definition = find(target)
    if not (_is_part(definition) or _is_own(definition)):
        raise NotAllowedError(_refusal(target, definition.path))
    return definition


def refuse_arguments(definition: Definition, names: Iterable[str]) -> None:
    """Refuses what a saved folder may not set: arguments of our parts that open, write, fetch or import something.

    The paths of data in the `config.yaml` of a run are read, and so may be set; nothing is fetched to them.

    Raises:
        NotAllowedError: names the argument.

    Example:
        >>> with within("model"):
        ...     refuse_arguments(allowed("torch.nn.Linear"), ["path"])
        Traceback (most recent call last):
        omniformer.config.allow.NotAllowedError: path opens, writes, fetches or imports; no saved model sets it
    """
    if _scope.get() != "model" or _is_own(definition):
        return
    if wrong := sorted(_OWN_AFFAIRS.intersection(names)):
        raise NotAllowedError(f"{wrong[0]} opens, writes, fetches or imports; no saved model sets it")


def is_strangers() -> bool:
    """Whether what is built now may be a stranger's: nothing in it is resolved, and no interpolation passes."""
    return _scope.get() != "training"


def parts(scope: Scope) -> tuple[str, ...]:
    """The single classes and functions that a scope allows beside its rooms, by their public names.

    Example:
        >>> parts("run")[-1]
        'omniformer_tokenizers.augment.flip_signs'
    """
    return tuple(
        f"{package}.{name}"
        for each in SCOPES[: SCOPES.index(scope) + 1]
        for package, names in _NAMED[each].items()
        for name in names
    )


def _is_part(definition: Definition) -> bool:
    scopes = SCOPES[: SCOPES.index(_scope.get()) + 1]
    if any(room.holds(definition) for scope in scopes for room in _ROOMS[scope]):
        return True
    name = definition.qualname
    named = (f"{package}.{each}" for scope in scopes for package, names in _NAMED[scope].items() for each in names)
    return any(each.endswith(f".{name}") and find(each).path == definition.path for each in named)


def _is_own(definition: Definition) -> bool:
    """Whether the user has named it; nobody can name more of this project than its parts."""
    path = f"{definition.path}."
    decorators = {ast.unparse(each) for each in definition.node.decorator_list}
    is_method = "." in definition.qualname and not definition.is_class
    if path.startswith(OURS) or (is_method and not decorators & {"classmethod", "staticmethod"}):
        return False
    return any(path.startswith(entry) for entry in _own.get())


def _refusal(target: str, path: str) -> str:
    what = f"{target!r}" if path == target else f"{target!r} (defined as {path!r})"
    scope = _scope.get()
    own = ", ".join(entry.removesuffix(".") for entry in _own.get()) or "none"
    return (
        f"{what} is not allowed as _target_ in {_AUTHORS[scope]}; accepted: {_WORDS[scope]}; and code of your own that "
        f"you trust (now {own}): name its package on the command line, as in allow_targets=[mypackage] or "
        "--allow-targets mypackage"
    )
