"""Names of parts that have moved: saved folders and people's own configurations go on saying where they stood."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from omniformer.config.folder import conf_dir

MOVED = {
    **{
        f"omniformer.core.attention.{name}": f"omniformer.core.variants.{name}"
        for name in ("additive", "linear", "linformer", "performer", "reformer", "topk", "value_residual")
    },
    **{
        f"omniformer.core.{name}": f"omniformer.core.variants.{name}"
        for name in ("recurrent", "recurrent_decoder", "reversible")
    },
    **{
        f"omniformer_tokenizers.{old}": f"omniformer_tokenizers.{new}"
        for old, new in {
            "source_code": "text.source_code",
            "subword": "text.subword",
            "sentencepiece": "text.sentencepiece",
            "raw_bytes": "text.symbols",
            "characters": "text.symbols",
            "words": "text.symbols",
            "codebook": "vision.codebook",
            "resampling": "vision.resampling",
            "video": "vision.video",
            "audio_presets": "audio.presets",
            "waveform": "audio.waveform",
            "molecules": "graph.molecules",
        }.items()
    },
}
"""By the module that a part stood in, the one where it stands."""

RENAMED = {
    f"omniformer.embedders.{module}PictureStem": "omniformer.embedders.grid_stem.GridStem"
    for module in ("", "picture_stem.")
}
"""By the path of a part that is called otherwise today, its path."""

ROWS = {
    f"omniformer.data.{module}{name}": row
    for name, row in {
        "CIFAR10": "cifar10",
        "ChEBI20": "chebi20",
        "Cora": "cora",
        "ESOL": "esol",
        "EasyVQA": "easy_vqa",
        "MNIST": "mnist",
        "SentencePolarity": "sentence_polarity",
        "TinyShakespeare": "tinyshakespeare",
        "Tox21": "tox21",
    }.items()
    for module in ("", f"sets.{row}.")
}
"""By the class that a data set was, the file of `conf/data` that describes it as a table."""


def current(path: str) -> str:
    """The dotted path of a part as it is today.

    Example:
        >>> current("omniformer.core.recurrent.Recurrent")
        'omniformer.core.variants.recurrent.Recurrent'
        >>> current("omniformer.core.Transformer")
        'omniformer.core.Transformer'
    """
    if path in RENAMED:
        return RENAMED[path]
    module, _, name = path.rpartition(".")
    return f"{MOVED[module]}.{name}" if module in MOVED else path


def unfolded(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of a part; of a data set that was a class the table that it is, with what was set of the class.

    Example:
        >>> unfolded({"_target_": "omniformer.data.ESOL", "data_root": "data"})["ids"]
        'esol/{split}/{row}'
    """
    row = ROWS.get(str(node.get("_target_")))
    return node if row is None else _row(row) | {name: each for name, each in node.items() if name != "_target_"}


@cache
def _row(name: str) -> dict[str, Any]:
    """The source of a file of `conf/data`, without what it takes from elsewhere."""
    source = yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in source["source"].items() if "${" not in str(value)}


def brought_up(node: Any) -> Any:
    """A description with the names of today, so that two that were written at different times can be compared.

    Example:
        >>> brought_up({"core": {"_target_": "omniformer.core.recurrent.Recurrent"}})
        {'core': {'_target_': 'omniformer.core.variants.recurrent.Recurrent'}}
    """
    if isinstance(node, Mapping):
        return {
            key: current(value) if key == "_target_" and isinstance(value, str) else brought_up(value)
            for key, value in unfolded(node).items()
        }
    return [brought_up(value) for value in node] if isinstance(node, list | tuple) else node
