"""Names of parts that have moved: saved folders and people's own configurations go on saying where they stood."""

from collections.abc import Mapping
from typing import Any

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


def current(path: str) -> str:
    """The dotted path of a part as it is today.

    Example:
        >>> current("omniformer.core.recurrent.Recurrent")
        'omniformer.core.variants.recurrent.Recurrent'
        >>> current("omniformer.core.Transformer")
        'omniformer.core.Transformer'
    """
    module, _, name = path.rpartition(".")
    return f"{MOVED[module]}.{name}" if module in MOVED else path


def brought_up(node: Any) -> Any:
    """A description with the names of today, so that two that were written at different times can be compared.

    Example:
        >>> brought_up({"core": {"_target_": "omniformer.core.recurrent.Recurrent"}})
        {'core': {'_target_': 'omniformer.core.variants.recurrent.Recurrent'}}
    """
    if isinstance(node, Mapping):
        return {
            key: current(value) if key == "_target_" and isinstance(value, str) else brought_up(value)
            for key, value in node.items()
        }
    return [brought_up(value) for value in node] if isinstance(node, list | tuple) else node
