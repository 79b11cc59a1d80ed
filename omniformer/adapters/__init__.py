"""Small trained additions to a model whose own weights stay as they are."""

from omniformer.adapters.files import load_adapter, save_adapter
from omniformer.adapters.lora import LoRA, adapters, apply_lora, is_adapted, merge, remove, unmerge

__all__ = [
    "LoRA",
    "adapters",
    "apply_lora",
    "is_adapted",
    "load_adapter",
    "merge",
    "remove",
    "save_adapter",
    "unmerge",
]
