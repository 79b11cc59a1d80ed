"""The data of a run as its configuration describes them: streams, and the tokenizers that read them."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer.config import build
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
    """
    single = "_target_" in node
    told = _informed(node, source) if single else {modality: _informed(part, source) for modality, part in node.items()}
    built = build(told, f"{name}.tokenizer")
    return {built.modality: built} if single else built


def _informed(node: Node, source: Source) -> Node:
    """The description of a tokenizer with what the data say of nodes and edges, where it says nothing itself."""
    parameters = signature(node["_target_"]).parameters
    told: dict[str, Any] = {}
    for names in GRAPH_FACTS:
        if all(name in parameters for name in names) and not any(name in node for name in names):
            told |= {name: source.facts[name] for name in names if name in source.facts}
    return told | dict(node)
