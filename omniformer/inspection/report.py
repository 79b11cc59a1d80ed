"""The cost of a whole model as numbers by name, and as a table to read."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from omniformer.config import BuildError, build
from omniformer.core.attention.cross import CrossAttention
from omniformer.core.core import kinds, reader, writer
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.transformer import Transformer
from omniformer.inspection.cost import active_parameters, cache_bytes_per_token, forward_cost, parameters
from omniformer.inspection.devices import STRATEGIES, TRAINED, fsdp
from omniformer.inspection.groups import GROUPS, ids
from omniformer.inspection.whole import build_on_meta
from omniformer.terminal.tables import show

# What each sample lets a core read that has cross-attention and no encoder: the patches of a small picture.
MEMORY_TOKENS = 16


def numbers(config: Mapping[str, Any]) -> dict[str, int]:
    """Everything that the table shows, by name.

    Args:
        config: the keys of `Settings`, as plain values.

    Raises:
        BuildError: a part refused its values, one device is to divide a model, or blocks keep what is not counted.
    """
    whole = build_on_meta(config)
    _check_kept(whole["core"])
    dtype: torch.dtype = getattr(torch, config["dtype"])
    whole.to(dtype)
    core, rule = whole["core"], build(config["rule"], "rule")
    samples, seq_len = config["batch_size"], config["seq_len"]
    layout = written = Layout(lengths=torch.full((samples,), seq_len))
    if several := len(kinds(core)) > 1:
        written = Layout(lengths=torch.full((samples,), config.get("target_len") or seq_len))
    memory = memory_for(core, samples, dtype)
    cost = forward_cost(core, layout, rule, target=written if several else None, memory=memory)
    beside = layout if writer(core) is core else written
    outside = _outside(whole, beside)
    found = {f"parameters/{name}": own for name, own in _own_parameters(whole).items()} | {
        "parameters": parameters(whole),
        "active_parameters": active_parameters(whole),
        "weight_bytes": parameters(whole) * dtype.itemsize,
        "training_bytes": parameters(whole) * TRAINED,
        "flops": cost.flops + outside,
        "flops/core": cost.flops,
        "training_flops": 3 * (cost.flops + outside),
        "activation_bytes": cost.activation_bytes,
        "attention_bytes": cost.attention_bytes,
        "attention_layers": cost.attention_layers,
    }
    if memory is not None:
        found["memory_tokens"] = memory.layout.n_tokens
    reach = rule.reach()
    if reach.right == 0:
        held = min(int(written.lengths[0]), reach.left + 1 + reach.sinks)
        per_token = cache_bytes_per_token(core, dtype)
        found |= {"cache_bytes_per_token": per_token, "cache_bytes": per_token * held * samples}
    return found | share_of_device(whole, config, found)


def share_of_device(whole: nn.ModuleDict, config: Mapping[str, Any], found: Mapping[str, int]) -> dict[str, int]:
    """What each of several devices holds and sends in a training step, by name; nothing of one device.

    Args:
        whole: the model's parts, as `build_on_meta` makes them.
        config: the keys of `Settings`, as plain values.
        found: the other numbers of the model.

    Raises:
        BuildError: one device is to divide a model.
    """
    devices, strategy, size = config.get("devices", 1), config.get("strategy", "ddp"), config.get("group_size", 2)
    if devices == 1 and strategy != "ddp":
        raise BuildError(
            f"strategy={strategy} divides a model between devices, and devices=1 is one; give devices=2 or more"
        )
    if devices == 1:
        return {}
    dtype, sent, parts = getattr(torch, config["dtype"]), 0, dict(whole.items())
    kept, flops = found["activation_bytes"], found["flops"]
    if strategy in GROUPS:
        if devices % size:
            raise BuildError(f"group_size={size} does not divide devices={devices}; choose a number that does")
        layout = Layout(lengths=torch.full((config["batch_size"],), config["seq_len"]))
        try:
            part = GROUPS[strategy](parts["core"], devices, size, layout, build(config["rule"], "rule"), dtype)
        except ValueError as error:
            raise BuildError(str(error)) from error
        kept, flops, sent = part.activation_bytes, flops - found["flops/core"] + part.flops, part.sent_bytes
        if strategy == "tensor":
            before = _outside(parts, layout)
            parts, more = ids(parts, size, layout, dtype)
            flops, sent = flops - before + _outside(parts, layout), sent + more
        parts["core"], devices = part.core, part.copies
    share = STRATEGIES.get(strategy, fsdp)(nn.ModuleDict(parts), devices, dtype)
    sent += share.sent_bytes
    return {
        "device/held_bytes": share.held_bytes,
        "device/whole_bytes": share.whole_bytes,
        "device/kept_bytes": kept,
        "device/bytes": share.held_bytes + share.whole_bytes + kept,
        "device/sent_bytes": sent,
        "device/flops_per_byte": 3 * flops // max(sent, 1),
    }


def _check_kept(core: nn.Module) -> None:
    """Refuses blocks that are computed again but for the results of some operations."""
    for part in core.modules():
        if isinstance(part, Transformer) and part.checkpoint_blocks and part.checkpoint_keeps != "nothing":
            raise BuildError(
                f"core.checkpoint_keeps={part.checkpoint_keeps}: what recomputed blocks keep of single operations is "
                "not counted; core.checkpoint_keeps=nothing gives the least memory, checkpoint_blocks=false the most"
            )


def memory_for(core: nn.Module, samples: int, dtype: torch.dtype) -> Memory | None:
    """Tokens for a core with cross-attention and no encoder of its own to read, without values; else None."""
    if reader(core) is not core:
        return None
    width = next((part.d_memory for part in core.modules() if isinstance(part, CrossAttention)), None)
    if width is None:
        return None
    layout = Layout(lengths=torch.full((samples,), MEMORY_TOKENS))
    return Memory(x=torch.empty(layout.n_tokens, width, device="meta", dtype=dtype), layout=layout)


def _own_parameters(whole: nn.ModuleDict) -> dict[str, int]:
    """The weights of each part that no part before it has."""
    seen: set[int] = set()
    own = {}
    for name, part in whole.items():
        new = {id(weight): weight for weight in part.parameters() if id(weight) not in seen}
        own[name] = sum(weight.numel() for weight in new.values())
        seen |= set(new)
    return own


def outside_flops(part: nn.Module, layout: Layout) -> int:
    """The linear maps of an embedder or a head: for each token, or for each sample where the head pools first.

    A second transformer among the parts reads other tokens than the batch's, and is left out.
    """
    if any(isinstance(each, Transformer) for each in part.modules()):
        return 0
    rows = layout.n_tokens if getattr(part, "per_token", True) else layout.n_samples
    return sum(2 * each.weight.numel() * rows for each in part.modules() if isinstance(each, nn.Linear))


def _outside(parts: Any, layout: Layout) -> int:
    return sum(outside_flops(part, layout) for name, part in parts.items() if name != "core")


def print_table(config: Mapping[str, Any], found: Mapping[str, int]) -> None:
    """Prints the numbers with their units, beside the published number of weights where there is one."""
    from rich.table import Table

    batch = f"{config['batch_size']} x {config['seq_len']} tokens, {config['dtype']}"
    if "device/bytes" in found:
        batch += f", on each of {config['devices']} devices ({config['strategy']})"
    table = Table(title=f"{config['core']['_target_'].rpartition('.')[2]}, {batch}", title_justify="left")
    table.add_column("what")
    table.add_column("exactly", justify="right")
    table.add_column("about", justify="right")
    for name, label, unit in _ROWS:
        if name not in found or (name == "active_parameters" and found[name] == found["parameters"]):
            continue
        table.add_row(label, f"{found[name]:,}", _short(found[name], unit), end_section=name in _SECTION_ENDS)
        if name == "parameters":
            _add_weights(table, config, found)
    show(table)


def _add_weights(table: Any, config: Mapping[str, Any], found: Mapping[str, int]) -> None:
    """The weights part by part, and the published number."""
    parts = {name.removeprefix("parameters/"): value for name, value in found.items() if name.startswith("parameters/")}
    for name, value in parts.items() if len(parts) > 1 else ():
        table.add_row(f"  of these in {name}", f"{value:,}", "")
    if (published := config.get("published")) is not None:
        gap = found["parameters"] - published
        table.add_row("  published", f"{published:,}", "the same" if gap == 0 else f"{gap:+,} here")


_ROWS = (
    ("parameters", "weights", ""),
    ("active_parameters", "weights that a token uses", ""),
    ("weight_bytes", "weights, memory", "B"),
    ("training_bytes", "  with gradients and AdamW, float32", "B"),
    ("flops", "forward pass, operations", "FLOP"),
    ("flops/core", "  of these in the core", "FLOP"),
    ("training_flops", "forward and backward pass, operations", "FLOP"),
    ("activation_bytes", "kept by the core for the backward pass", "B"),
    ("attention_bytes", "attention weights, were they written out", "B"),
    ("memory_tokens", "tokens that cross-attention reads", ""),
    ("cache_bytes_per_token", "key-value cache of a token", "B"),
    ("cache_bytes", "key-value cache of this batch", "B"),
    ("device/held_bytes", "a device holds (weights and training)", "B"),
    ("device/whole_bytes", "  and whole, at the fullest moment", "B"),
    ("device/kept_bytes", "  kept by its part of the core", "B"),
    ("device/bytes", "  in all", "B"),
    ("device/sent_bytes", "a device sends in a step, and receives", "B"),
    ("device/flops_per_byte", "  operations for each of these bytes", "FLOP"),
)
_SECTION_ENDS = {"training_bytes", "training_flops", "attention_bytes", "memory_tokens", "cache_bytes"}


def _short(value: float, unit: str) -> str:
    """A number for people: bytes and operations with prefixes, weights in millions.

    Example:
        >>> _short(124_439_808, ""), _short(33_554_432, "B")
        ('124.4 million', '33.6 MB')
    """
    prefixes = ("P", "T", "G", "M", "k") if unit else ("quadrillion", "trillion", "billion", "million", "thousand")
    for size, prefix in zip((1e15, 1e12, 1e9, 1e6, 1e3), prefixes, strict=True):
        if value >= size:
            return f"{value / size:.1f} {prefix}{unit}"
    return f"{value} {unit}".strip()
