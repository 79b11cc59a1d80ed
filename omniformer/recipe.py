"""How to build a model again: plain JSON values, from a run's configuration and the facts of its data."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from omniformer.config import BuildError, ConfigError, build, within
from omniformer.config.accepts import is_node
from omniformer.config.errors import shown
from omniformer.config.signature import signature
from omniformer.core.rules import Rule
from omniformer.heads import Head
from omniformer.model import OmniFormer

Node = dict[str, Any]


def members(config: Mapping[str, Any]) -> dict[str, Node]:
    """The members of a run's mixture by name: `tokenizer`, `embedder`, `data` and `task` of each.

    A run of one data set is a mixture of one, named like the run.

    Raises:
        ConfigError: a part is missing.
    """
    parts = ("tokenizer", "embedder", "data", "task")
    named = config.get("members") or {config["name"]: {part: config.get(part) for part in parts}}
    for name, member in named.items():
        if missing := [part for part in parts if not member.get(part)]:
            key = f"members.{name}." if config.get("members") else ""
            raise ConfigError([f"{key}{missing[0]} is not set; choose a modality= or give {', '.join(missing)}"])
    return {name: dict(member) for name, member in named.items()}


def by_modality(node: Node, modalities: list[str]) -> dict[str, Node]:
    """A part's description for each modality, whether it was written for one or as a mapping."""
    if "_target_" not in node:
        return node
    if len(modalities) != 1:
        raise ConfigError(
            [f"one description for modalities {modalities}; write one for each: {{{modalities[0]}: ...}}"]
        )
    return {modalities[0]: node}


def recipe(config: Mapping[str, Any], facts: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Node:
    """Everything that `build_model` needs, as plain JSON values.

    Args:
        config: the composed configuration of the run.
        facts: by member and modality, what the data and its tokenizer say of themselves (`vocab_size`, `n_classes`...).

    Raises:
        ConfigError: two members give one modality different embedders or vocabularies.
    """
    result: Node = {"core": config["core"], "edges": _edges(facts), "embedders": {}, "heads": {}, "rules": {}}
    widths = _widths(config["core"])
    for name, member in members(config).items():
        modalities = list(facts[name])
        for modality, node in by_modality(member["embedder"], modalities).items():
            width = {"d_model": _of_tower(widths, result["embedders"], modality)}
            # Only what it reads: members may share an embedder and differ in classes.
            embedder = {"node": node, "facts": _taken(node, _relevant(facts[name][modality]) | width)}
            if (other := result["embedders"].setdefault(modality, embedder)) != embedder:
                mistake = (
                    f"members.{name}.embedder: modality {modality!r} has another embedder already; "
                    f"received {embedder}, already there {other}"
                )
                raise ConfigError([mistake])
        head = member["task"]["head"]
        read = {modality: _of_tower(widths, result["embedders"], modality) for modality in modalities}
        width = {"d_model": read if len(set(read.values())) > 1 else next(iter(read.values()))}
        result["heads"][name] = {"node": head, "facts": _relevant(merged(facts[name], head)) | width}
        if member["task"].get("rule") is not None:
            result["rules"][name] = member["task"]["rule"]
    return result


def merged(facts: Mapping[str, Mapping[str, Any]], head: Node) -> Node:
    """The facts of all modalities of a member as one; where they differ, those of the modality that the head is about.

    Args:
        facts: by modality.
        head: the description of a head, which may name its `modality`; text is what heads are about by default.
    """
    last = head.get("modality", "text")
    ordered = [modality for modality in facts if modality != last] + [last] * (last in facts)
    return {key: value for modality in ordered for key, value in facts[modality].items()}


def build_model(recipe: Mapping[str, Any]) -> OmniFormer:
    """The model that a recipe describes, with fresh weights from PyTorch's global generator.

    Whoever calls, no more is built than a saved model may name: parts of models, and what `allowing` says beside them.

    Raises:
        BuildError: the recipe lacks something, a part is not on the allow list, refused its values, or is of another
            kind than its place.
    """
    with within("model"):
        core = _built(nn.Module, recipe.get("core"), "core", recipe.get("edges", {}))
        embedders = {
            name: _built(nn.Module, *_described(part, f"embedders.{name}"))
            for name, part in _table(recipe, "embedders").items()
        }
        heads = {
            name: _built(Head, *_described(part, f"heads.{name}")) for name, part in _table(recipe, "heads").items()
        }
        rules = {name: _built(Rule, node, f"rules.{name}", {}) for name, node in _table(recipe, "rules").items()}
    try:
        return OmniFormer(core=core, embedders=embedders, heads=heads, rules=rules, ties=_table(recipe, "ties"))
    except (TypeError, KeyError, AttributeError) as error:
        raise BuildError(f"the parts of the recipe are no model together: {error}") from error


def _table(recipe: Mapping[str, Any], key: str) -> dict[str, Any]:
    """One table of a recipe, by name."""
    table = recipe.get(key) or {}
    if not isinstance(table, Mapping):
        raise BuildError(f"{key}: received {shown(table)}, accepted: descriptions by name")
    return dict(table)


def _described(part: Any, key: str) -> tuple[Any, str, Any]:
    """The description of a part, its key, and the facts that it is given."""
    if not isinstance(part, Mapping) or not part.keys() >= {"node", "facts"}:
        raise BuildError(f"{key}: received {shown(part)}, accepted: a mapping with node and facts")
    return part["node"], key, part["facts"]


def _built(kind: type, node: Any, key: str, facts: Any) -> Any:
    """A part of the kind that its place needs."""
    if not is_node(node) or not isinstance(facts, Mapping):
        raise BuildError(
            f"{key}: received {shown(node)}, accepted: a part (a mapping with _target_), and facts by name"
        )
    try:
        built = build(node, key, **facts)
    except (ArithmeticError, AttributeError, LookupError, AssertionError, RecursionError) as error:
        raise BuildError(f"{key} ({node['_target_']}): its values make no part: {error!r}") from error
    if not isinstance(built, kind):
        raise BuildError(f"{key}: {node['_target_']} is no {kind.__name__}, as its place needs")
    return built


def _taken(node: Any, facts: Node) -> Node:
    """The facts that a part, or a part inside it, has a parameter for."""
    described = [signature(part["_target_"]) for part in parts_of(node)]
    return {name: value for name, value in facts.items() if any(name in each.parameters for each in described)}


def parts_of(node: Any) -> Iterator[Node]:
    """A description and all descriptions in it."""
    if is_node(node):
        yield node
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()
    for child in children:
        yield from parts_of(child)


def _edges(facts: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Node:
    """What a core with a bias for each kind of edge must know of edges, from the first member that has any."""
    names = ("edge_vocab_sizes", "edge_features")
    for modalities in facts.values():
        for known in modalities.values():
            if any(known.get(name) for name in names):
                return _relevant({name: known[name] for name in names if name in known})
    return {}


def _widths(core: Node) -> list[int]:
    """The width of a core, or of each of its towers."""
    return [_width(tower) for tower in core["towers"]] if core.get("towers") else [_width(core)]


def _of_tower(widths: list[int], embedders: Mapping[str, Any], modality: str) -> int:
    """The width of the tower that reads a modality, whose number is its place among the embedders."""
    if len(widths) == 1:
        return widths[0]
    number = [*embedders, modality].index(modality)
    if number >= len(widths):
        there = ", ".join(embedders)
        raise ConfigError([f"core.towers: {len(widths)} towers, for {there}; modality {modality!r} has none"])
    return widths[number]


def _width(core: Node) -> int:
    """The width of a core: its own, or that of the transformer inside it that writes or reads."""
    if core.get("d_model") is not None:
        return core["d_model"]
    for part in ("decoder", "encoder", "core"):
        if isinstance(core.get(part), dict):
            return _width(core[part])
    raise ConfigError([f"core.d_model is not set; {core.get('_target_')} needs one, or a part that has one"])


def _relevant(facts: Mapping[str, Any]) -> Node:
    """The facts that travel in JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
