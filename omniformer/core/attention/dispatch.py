"""Which kernel is fastest for a rule on a batch: a table of measured costs, and the areas to multiply them with."""

from dataclasses import dataclass

import torch

from omniformer.core.attention.banded import block_size
from omniformer.core.attention.dense import area, grouped, laid
from omniformer.core.attention.newest import fits
from omniformer.core.attention.varlen import window_of
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a pair costs in each kernel, forward and backward, in units of one pair of a masked dense block.

    Args:
        causal: a pair of a dense block under `Causal`, of which the fused kernel skips half.
        banded: a pair of a block in a band, for blocks of many queries.
        banded_block: queries of a block at which gathering its keys costs as much as attending to them.
        edge: a pair in a list.
    """

    causal: float
    banded: float
    banded_block: int
    edge: float


# Measured by `python scripts/benchmark_attention.py costs`; see docs/attention.md.
MEASURED = {"cpu": Costs(causal=0.7, banded=1.0, banded_block=64, edge=8.0)}
# Not measured yet on a GPU: gathering costs less there, and everything is launched in pieces.
UNMEASURED = Costs(causal=0.5, banded=1.5, banded_block=64, edge=40.0)


def choose(rule: Rule, layout: Layout, key_layout: Layout) -> tuple[str, str]:
    """The name of the kernel to run, and why it is the one."""
    device = torch.device(layout.device or "cpu")
    costs = MEASURED.get(device.type, UNMEASURED)
    if device.type == "cuda" and _has_fused_varlen(device) and window_of(rule, layout, key_layout) is not None:
        return "varlen", "plain window on CUDA, ragged samples need no padding"
    if fits(rule, layout, key_layout):
        return "newest", "one token a sample, which sees all before it"
    pairs = rule.pairs(layout) if layout is key_layout else None
    in_order = layout.places is None and key_layout.places is None
    banded = rule.reach().bounded and in_order
    if pairs is None and not banded:
        return "dense", "every pair of a sample may count"
    padded = area(laid(layout, key_layout)[0], layout.lengths, key_layout.lengths)
    options = {"dense": padded * (costs.causal if isinstance(rule, Causal) else 1.0)}
    reasons = {}
    if banded:
        band = _banded_area(rule, layout, key_layout)
        options["banded"] = band * costs.banded * (1 + costs.banded_block / block_size(rule))
        reasons["banded"] = f"{band} pairs in blocks along the band instead of {padded}"
        reasons["dense"] = f"{padded} pairs, of which a band would compute {band}: too few samples are long"
    if pairs is not None:
        options["edges"] = pairs.shape[1] * costs.edge
        reasons["edges"] = f"{pairs.shape[1]} pairs of a possible {padded}"
        reasons["dense"] = f"{pairs.shape[1]} pairs of a possible {padded}: small blocks beat lists"
    best = min(options, key=lambda name: options[name])
    return best, reasons[best]


def _banded_area(rule: Rule, layout: Layout, key_layout: Layout) -> int:
    """About how many pairs `Banded` computes."""
    reach, size = rule.reach(), block_size(rule)
    width = size + reach.left + reach.right
    short = torch.maximum(layout.lengths, key_layout.lengths) <= width
    lengths, keys = layout.lengths * ~short, key_layout.lengths * ~short
    others = reach.sinks + sum(
        size * blocks.chosen(torch.zeros(1).long(), torch.ones(1).long()).shape[-1] for blocks in rule.blocks()
    )
    near, near_keys = layout.lengths * short, key_layout.lengths * short
    pairs = area(grouped(near, near_keys), near, near_keys)
    pairs += int((-(-lengths // size) * size).sum()) * (width + others)
    columns, rows = rule.columns(key_layout), rule.rows(layout)
    per_sample = [
        torch.zeros(side.n_samples, dtype=torch.long).index_add(0, side.sample.cpu(), marked.long().cpu())
        if marked is not None
        else 0
        for side, marked in ((key_layout, columns), (layout, rows))
    ]
    return pairs + int((lengths * per_sample[0] + keys * per_sample[1]).sum())


def _has_fused_varlen(device: torch.device) -> bool:
    # Flash attention wants Ampere (8.0) or later.
    return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
