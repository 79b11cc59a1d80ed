"""What `config.json` says of rotary positions, in the words of old files and of new ones."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from omniformer.pretrained.family import factory, part
from omniformer.recipe import Node

_SCALINGS = "omniformer.core.rotary_scaling"


def rotary_of(config: Mapping[str, Any], *, base: float = 10_000.0, head_dim: int | None = None) -> Node:
    """The rotary positions that a configuration describes.

    New files say everything in `rope_parameters`; old ones have `rope_theta` beside `rope_scaling`, whose kind is
    called `type` or `rope_type`.

    Args:
        config: the content of `config.json`.
        base: what the reference takes for `rope_theta` where the file leaves it out.
        head_dim: features of a head, of a family that may turn a part of them; the others turn all.

    Raises:
        ValueError: a kind of scaling that the core does not compute as the reference does; names the key.

    Example:
        >>> rotary_of({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}})["scaling"]
        {'_target_': 'omniformer.core.rotary_scaling.LinearScaling', 'factor': 2.0}
    """
    given = _given(config)
    base = given.get("rope_theta") or config.get("rope_theta") or base
    share = given.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    part_of = {}
    if share not in (None, 1):
        if head_dim is None:
            raise ValueError(
                f"config.json has partial_rotary_factor={share}; accepted: 1, as this family turns whole heads"
            )
        part_of = {"rotated": int(head_dim * share)}
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind == "default":
        return factory("omniformer.core.rotary.Rotary", base=base, **part_of)
    if kind not in _NODES:
        raise ValueError(f"config.json asks for rotary scaling {kind!r}; accepted: default, {', '.join(_NODES)}")
    return factory("omniformer.core.rotary.Rotary", base=base, scaling=_NODES[kind](given, config), **part_of)


def rotary_of_layers(
    config: Mapping[str, Any], bases: Mapping[str, tuple[str, float]], *, scaled: Sequence[str] = ("full_attention",)
) -> dict[str, Node]:
    """The rotary positions of each kind of layer, where a configuration gives each its own.

    New files have a table for each kind in `rope_parameters`; old ones a key for each base, and one `rope_scaling`.

    Args:
        config: the content of `config.json`.
        bases: by kind of layer, the key that old files have for its base, and what the reference takes without it.
        scaled: the kinds that `rope_scaling` of old files means.

    Raises:
        ValueError: as for `rotary_of`, or `rope_parameters` is one table for all layers.

    Example:
        >>> bases = {"full_attention": ("rope_theta", 1e6), "sliding_attention": ("rope_local_base_freq", 1e4)}
        >>> {kind: node["base"] for kind, node in rotary_of_layers({"rope_theta": 5e5}, bases).items()}
        {'full_attention': 500000.0, 'sliding_attention': 10000.0}
    """
    tables = config.get("rope_parameters") or {}
    if any(table is not None and not isinstance(table, Mapping) for table in tables.values()):
        raise ValueError(f"config.json has rope_parameters={tables}; accepted: a table for each of {', '.join(bases)}")
    found = {}
    for kind, (key, base) in bases.items():
        scaling = config.get("rope_scaling") if kind in scaled else None
        given = {**(scaling or {}), **(tables.get(kind) or {})}
        own = {"rope_theta": config.get(key), "rope_scaling": None, "rope_parameters": given}
        found[kind] = rotary_of({**config, **own}, base=base)
    return found


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    given = config.get(key) or {}
    if not isinstance(given, Mapping) or any(isinstance(value, Mapping) for value in given.values()):
        raise ValueError(f"config.json has {key}={given}; accepted: one table of numbers for all layers")
    return dict(given)


def _linear(given: dict[str, Any], config: Mapping[str, Any]) -> Node:
    return part(f"{_SCALINGS}.LinearScaling", factor=_need(given, "factor"))


def _llama3(given: dict[str, Any], config: Mapping[str, Any]) -> Node:
    return part(
        f"{_SCALINGS}.Llama3Scaling",
        factor=_need(given, "factor"),
        original_seq_len=_original(given, config),
        low=_need(given, "low_freq_factor"),
        high=_need(given, "high_freq_factor"),
    )


def _yarn(given: dict[str, Any], config: Mapping[str, Any]) -> Node:
    original = _original(given, config)
    factor = given.get("factor") or config["max_position_embeddings"] / original
    return part(
        f"{_SCALINGS}.YaRN",
        factor=factor,
        original_seq_len=original,
        beta_fast=given.get("beta_fast") or 32.0,
        beta_slow=given.get("beta_slow") or 1.0,
        amplitude=_amplitude(given, factor),
        whole=given.get("truncate", True),
    )


def _dynamic(given: dict[str, Any], config: Mapping[str, Any]) -> Node:
    # The reference counts from max_position_embeddings on, whatever original_max_position_embeddings says.
    longest = config["max_position_embeddings"]
    return part(f"{_SCALINGS}.DynamicNTK", factor=_need(given, "factor"), original_seq_len=longest)


def _longrope(given: dict[str, Any], config: Mapping[str, Any]) -> Node:
    original = _original(given, config)
    factor = given.get("factor") or config["max_position_embeddings"] / original
    amplitude = given.get("attention_factor")
    if amplitude is None:
        amplitude = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return part(
        f"{_SCALINGS}.LongRoPE",
        short=_need(given, "short_factor"),
        long=_need(given, "long_factor"),
        original_seq_len=original,
        amplitude=amplitude,
    )


# Early files of Phi-3 call the last one "su".
_NODES = {
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
    "su": _longrope,
}


def _amplitude(given: dict[str, Any], factor: float) -> float | None:
    """What YaRN multiplies queries and keys by; None for the paper's own rule."""
    if given.get("attention_factor") is not None:
        return given["attention_factor"]
    if not (given.get("mscale") and given.get("mscale_all_dim")):
        return None
    # DeepSeek's files give the two weights of the logarithm, that of the scores and that which is taken back.
    up, down = (0.1 * given[key] * math.log(factor) + 1.0 for key in ("mscale", "mscale_all_dim"))
    return up / down


def _original(given: dict[str, Any], config: Mapping[str, Any]) -> int:
    """The context length of the training."""
    return (
        config.get("original_max_position_embeddings")
        or given.get("original_max_position_embeddings")
        or config["max_position_embeddings"]
    )


def _need(given: dict[str, Any], key: str) -> Any:
    if given.get(key) is None:
        kind = given.get("rope_type") or given.get("type")
        raise ValueError(f"config.json asks for rotary scaling {kind!r} and lacks its {key}")
    return given[key]
