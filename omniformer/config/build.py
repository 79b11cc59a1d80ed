"""Builds objects from their description in a configuration: a small, strict replacement of Hydra's `instantiate`."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from omniformer.config.accepts import is_node
from omniformer.config.allow import NotAllowedError, allowed, is_strangers, refuse_arguments
from omniformer.config.errors import BuildError, choices, nearest, shown
from omniformer.config.moved import unfolded
from omniformer.config.signature import Signature, signature


def build(node: Any, key: str = "config", /, **facts: Any) -> Any:
    """Builds a part, and the parts inside it, from plain values.

    A mapping with `_target_` becomes a call of that class or function; with `_partial_: true` it becomes a
    `functools.partial`. Other mappings and lists are built item by item, and everything else stays as it is. The allow
    list (`allow.allowed`) is asked before anything is imported.

    Args:
        node: the description, as plain values.
        key: where it stands in the configuration, empty for the whole of one; error messages name it.
        facts: arguments for every part whose constructor has a parameter of that name and whose description leaves it
            out, such as `vocab_size` from a fitted tokenizer or ready-made objects. A partial still waits for what must
            be given to it and may be given by its place: the width of a norm.

    Raises:
        BuildError: a target is not allowed or not found, a key is no parameter of it or not for this author to set, or
            its constructor refused the values or needs a library that is not installed; the message names the key in
            the configuration.

    Example:
        >>> build({"_target_": "torch.nn.Linear", "in_features": 2}, "head", out_features=3)
        Linear(in_features=2, out_features=3, bias=True)
    """
    if is_node(node):
        return _build_node(node, key, facts)
    if isinstance(node, Mapping):
        above = f"{key}." if key else ""
        return {name: build(value, f"{above}{name}", **facts) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(build(value, f"{key}[{index}]", **facts) for index, value in enumerate(node))
    if isinstance(node, str) and "${" in node and is_strangers():
        raise BuildError(
            f"{key}: received {shown(node)}; a saved folder holds values, and no interpolation is resolved"
        )
    return node


def locate(target: str) -> Callable[..., Any]:
    """Imports the class or function that a `_target_` names, once the allow list has let it pass.

    Raises:
        LookupError: there is no such class or function.
        NotAllowedError: the allow list does not hold it, as its source or as the imported object says.

    Example:
        >>> locate("torch.nn.Linear").__name__
        'Linear'
    """
    definition = allowed(target)
    found: Any = import_module(definition.module)
    for name in definition.qualname.split("."):
        found = getattr(found, name)
    # Source and object agree unless somebody replaced the object at import time; then it may be anything.
    if getattr(found, "__module__", None) != definition.module or not callable(found):
        raise NotAllowedError(f"{target!r} was replaced after its definition in {definition.module!r}")
    return found


def _build_node(node: Mapping[str, Any], key: str, facts: Mapping[str, Any]) -> Any:
    node = unfolded(node)
    target = node["_target_"]
    try:
        function = locate(target)
    except (LookupError, NotAllowedError) as error:
        raise BuildError(f"{key}._target_: {error.args[0]}") from None
    given = {str(name): value for name, value in node.items() if name not in ("_target_", "_partial_")}
    described = signature(target)
    try:
        refuse_arguments(allowed(target), given)
    except NotAllowedError as error:
        raise BuildError(f"{key}: {error}") from None
    _refuse_unknown(given, described, key)
    arguments = {name: build(value, f"{key}.{name}", **facts) for name, value in given.items()}
    filled = {name: value for name, value in facts.items() if name in described.parameters and name not in given}
    if node.get("_partial_", False):
        ours = {name: value for name, value in filled.items() if not _waits_for(function, name)}
        return partial(function, **ours, **arguments)
    parameters = described.parameters.items()
    if lacking := [name for name, each in parameters if each.required and name not in {*filled, *arguments}]:
        raise BuildError(
            f"{key}.{lacking[0]}: {target} needs it, and neither the configuration nor what stands around it gives it; "
            "set it, or choose another part, such as an embedder for what the tokenizer gives"
        )
    try:
        return function(**filled, **arguments)
    except BuildError:
        raise
    except (ValueError, TypeError, ImportError) as error:
        raise BuildError(f"{key} ({target}): {error}") from error
    except OSError as error:
        error.add_note(f"while building {key} ({target})")
        raise


def _waits_for(function: Callable[..., Any], name: str) -> bool:
    """Whether whoever calls a partial gives it this argument by its place, as the core gives a norm its width."""
    parameter = inspect.signature(function).parameters.get(name)
    if parameter is None or parameter.default is not parameter.empty:
        return False
    return parameter.kind is parameter.POSITIONAL_OR_KEYWORD


def _refuse_unknown(given: Mapping[str, Any], described: Signature, key: str) -> None:
    """Refuses keywords that the constructor does not have, before any part inside is built."""
    for name in given:
        if name not in described.parameters and not described.open:
            near = nearest(name, described.parameters)
            hint = f"did you mean {near!r}? " if near else ""
            accepted = choices(name, described.parameters)
            raise BuildError(f"{key}.{name}: unknown key of {described.target}; {hint}accepted: {accepted}")
