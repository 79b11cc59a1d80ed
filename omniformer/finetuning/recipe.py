"""How the model of a run is built, with what it takes over from a published one."""

from collections.abc import Mapping
from typing import Any

from omniformer.config import ConfigError
from omniformer.config.build import locate
from omniformer.config.moved import current
from omniformer.config.validate import validate_node
from omniformer.recipe import Node, by_modality, members, recipe

_MASKABLE = "omniformer.embedders.Maskable"
_CAUSAL = "omniformer.core.rules.Causal"


def with_overlay(core: Node, config: Mapping[str, Any]) -> Node:
    """A core with what `model.core` lays over it.

    Raises:
        ConfigError: that has keys or values that the core does not have.
    """
    overlay = (config.get("model") or {}).get("core")
    if not overlay:
        return core
    core = _laid_over(core, overlay)
    validate_node(core, "model.core")
    return core


def joined(config: Mapping[str, Any], facts: Mapping[str, Mapping[str, Mapping[str, Any]]], taken: Node) -> Node:
    """The recipe of a run that takes over a published model.

    A head of the same kind as the published one takes its options, such as tied tables; its sizes are those of the
    data. A task that asks for a plain causal rule gets the published one, which may have a window.

    Args:
        config: the configuration of the run.
        facts: by member and modality, as `omniformer.recipe.recipe` wants them.
        taken: how the published model is built.

    Raises:
        ConfigError: `model.core` has keys or values that the core does not have, or a member hides tokens in a way that
            the published embedder does not know.
    """
    core = with_overlay(taken["core"], config)
    known = {
        name: {modality: {**each, **_vocabulary(taken, modality)} for modality, each in by_modality.items()}
        for name, by_modality in facts.items()
    }
    made = recipe({**config, **_with_embedders(config, facts, taken), "core": core}, known)
    # In the published order, which may be that of towers; what no member reads stays, so that the model is whole.
    made["embedders"] = dict(taken["embedders"]) | {
        modality: node for modality, node in made["embedders"].items() if modality not in taken["embedders"]
    }
    for name in made["heads"]:
        if (theirs := same_kind(made["heads"][name]["node"], taken)) is None:
            continue
        made["heads"][name] = _joined(made["heads"][name], taken["heads"][theirs])
        if (made["rules"].get(name) or {}).get("_target_") == _CAUSAL and theirs in taken["rules"]:
            made["rules"][name] = taken["rules"][theirs]
    return made | ({"ties": taken["ties"]} if taken.get("ties") else {})


def same_kind(head: Node, taken: Node) -> str | None:
    """The published head of the same class, of which a head takes options and weights."""
    mine = locate(head["_target_"])
    return next((name for name, each in taken["heads"].items() if locate(each["node"]["_target_"]) is mine), None)


def _laid_over(node: Node, keys: Mapping[str, Any]) -> Node:
    """A description with other values for some keys; a part of another class takes the place of the whole."""
    result = dict(node)
    for key, value in keys.items():
        old = result.get(key)
        if (
            isinstance(old, dict)
            and isinstance(value, Mapping)
            and current(value.get("_target_", old.get("_target_", ""))) == current(old.get("_target_", ""))
        ):
            result[key] = _laid_over(old, value)
        else:
            result[key] = value
    return result


def _vocabulary(taken: Node, modality: str) -> Node:
    """The number of ids that the published embedder knows: it may have rows that no id uses yet."""
    node = taken["embedders"].get(modality, {}).get("node", {})
    return {"vocab_size": node["vocab_size"]} if "vocab_size" in node else {}


def _joined(mine: Node, theirs: Node) -> Node:
    """The published head, with the sizes that the data say."""
    sizes = {key: value for key, value in mine["facts"].items() if key in ("n_classes", "n_outputs")}
    node = {key: value for key, value in theirs["node"].items() if key not in sizes}
    return {"node": node, "facts": theirs["facts"] | (mine["facts"] if sizes else {})}


def _with_embedders(
    config: Mapping[str, Any], facts: Mapping[str, Mapping[str, Mapping[str, Any]]], taken: Node
) -> Node:
    """The members of a configuration with the published embedders in the place of theirs.

    Raises:
        ConfigError: a member hides tokens in a way that the published embedder does not know.
    """
    described = members(config)
    for name, member in described.items():
        published: dict[str, Node] = {
            modality: taken["embedders"][modality]["node"] for modality in facts[name] if modality in taken["embedders"]
        }
        fresh = [modality for modality in facts[name] if modality not in published]
        node: Node = member["embedder"]
        single = "_target_" in node
        mine = by_modality(node, fresh) if fresh or not single else {}
        replaced = dict.fromkeys(published, node) if single and not fresh else mine
        for modality in set(replaced) & set(published):
            if replaced[modality].get("_target_") == _MASKABLE != published[modality]["_target_"]:
                mistake = (
                    f"embedder: hides tokens of {modality} by a vector of its own, which the published model does not "
                    "have; choose embedder=ids and hide them behind a token of its vocabulary, as in "
                    "data.arrange.token=[MASK]"
                )
                raise ConfigError([mistake])
        member["embedder"] = {**mine, **published}
    return {"members": described}
