"""The data of a run as its configuration describes them: streams, and the tokenizers that read them."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer.config import build
from omniformer.config.errors import shown
from omniformer.config.signature import signature
from omniformer.data.module import OmniDataModule
from omniformer.data.source import GRAPH_FACTS, Source
from omniformer.recipe import Node, members


def build_data(
    config: Mapping[str, Any], tokenizers: Mapping[str, dict[str, Tokenizer]] | None = None
) -> OmniDataModule:
    """The data of a run, not yet read.

    Args:
        config: the checked configuration.
        tokenizers: by member and modality, where they are fitted already; None builds those of the configuration.
    """
    described = members(config)
    streams = {
        name: build(member["data"], f"{name}.data", data_root=config["data_root"]) for name, member in described.items()
    }
    made = tokenizers or {
        name: _brought(name, streams[name].source) or build_tokenizers(member["tokenizer"], name, streams[name].source)
        for name, member in described.items()
    }
    return OmniDataModule(
        streams=streams,
        tokenizers=dict(made),
        seed=config["seed"],
        steps_per_epoch=config.get("steps_per_epoch"),
        mixture_temperature=config.get("mixture_temperature"),
    )


def _brought(name: str, source: Source) -> dict[str, Tokenizer]:
    """The tokenizers that belong to the data, in the place of those of the configuration."""
    for modality, tokenizer in source.tokenizers.items():
        rank_zero_info(
            f"{name}: {modality} is read with the {type(tokenizer).__name__} that {source.name} brings, in the place "
            "of what tokenizer= says"
        )
    return dict(source.tokenizers)


def build_tokenizers(node: Node, name: str, source: Source) -> dict[str, Tokenizer]:
    """The tokenizers of a member by modality, told what its data say of graphs.

    Args:
        node: the description of one tokenizer, or of one for each modality.
        name: of the member, for messages.
        source: of its data.

    Raises:
        ValueError: one could not be made again of what its `config` gives, as saving a run wants.
    """
    single = "_target_" in node
    told = _informed(node, source) if single else {modality: _informed(part, source) for modality, part in node.items()}
    built = build(told, f"{name}.tokenizer")
    made = {built.modality: built} if single else built
    for tokenizer in made.values():
        _check_contract(tokenizer, name)
    return made


def _check_contract(tokenizer: Tokenizer, name: str) -> None:
    """Refuses a tokenizer, such as one of the user's own, that could not be saved with the run."""
    kind = type(tokenizer).__name__
    given = tokenizer.config() if callable(tokenizer.config) else tokenizer.config
    if not callable(tokenizer.config) or not isinstance(given, Mapping):
        raise ValueError(
            f"{name}.tokenizer: config of {kind} is {shown(given)}, expected a method that gives the arguments of its "
            "constructor, by which it is made again: def config(self): return {...}"
        )
    try:
        tokenizer.remade()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}.tokenizer: config() of {kind} gives {', '.join(map(str, given)) or 'nothing'}, of which it cannot "
            f"be made again ({error}); give the arguments of its constructor"
        ) from error


def _informed(node: Node, source: Source) -> Node:
    """The description of a tokenizer with what the data say of nodes and edges, where it says nothing itself."""
    parameters = signature(node["_target_"]).parameters
    told: dict[str, Any] = {}
    for names in GRAPH_FACTS:
        if all(name in parameters for name in names) and not any(name in node for name in names):
            told |= {name: source.facts[name] for name in names if name in source.facts}
    return told | dict(node)
