"""What `config.json` says of layers that differ, in the words of the core: a pattern and kinds."""

from collections.abc import Mapping, Sequence
from typing import Any

from omniformer.pretrained.families.mistral import window
from omniformer.pretrained.family import part
from omniformer.recipe import Node


def kind(**own: Any) -> Node:
    """What the layers of one kind have of their own; see `LayerKind`."""
    return part("omniformer.core.layer_kinds.LayerKind", **own)


def pattern_of(types: Sequence[str], kinds: Mapping[str, Node]) -> Node:
    """The core's `pattern`, as short as repeating it allows, and its `kinds` without those that have no layer.

    Args:
        types: of each layer.
        kinds: by type; see `kind`.

    Raises:
        ValueError: a layer has a type that is not among the kinds.

    Example:
        >>> pattern_of(["near", "far", "near"], {"near": kind(), "far": kind()})["pattern"]
        ['near', 'far']
    """
    if unknown := [each for each in types if each not in kinds]:
        raise ValueError(f"config.json has layer_types with {unknown[0]!r}; accepted: {', '.join(kinds)}")
    period = next(n for n in range(1, len(types) + 1) if all(each == types[i % n] for i, each in enumerate(types)))
    return {"pattern": list(types[:period]), "kinds": {name: node for name, node in kinds.items() if name in types}}


def types_of(config: Mapping[str, Any], default: Sequence[str]) -> list[str]:
    """The type of each layer: as `layer_types` says, or the default where the file leaves it out.

    Raises:
        ValueError: there is not one for each layer.
    """
    types, n_layers = list(config.get("layer_types") or default), config["num_hidden_layers"]
    if len(types) != n_layers:
        raise ValueError(
            f"config.json has {len(types)} layer_types and num_hidden_layers={n_layers}; give one for each"
        )
    return types


def windowed(size: int | None) -> Node:
    """The rule of the layers of type "sliding_attention", the token itself counted, to be joined with that of the call.

    Raises:
        ValueError: there is no window, or one of nothing.

    Example:
        >>> windowed(4)
        {'_target_': 'omniformer.core.rules.Window', 'left': 3, 'right': 0}
    """
    if size is None:
        raise ValueError("config.json has layers of sliding_attention and no sliding_window; give its size")
    return window(size)
