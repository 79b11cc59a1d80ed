"""Measures how near approximate attention comes to the exact one, and how its cost grows with the length.

    python scripts/measure_approximations.py

Prints the tables of docs/approximations.md. Costs are CPU seconds of one thread, forward and backward, the least of
three passes, so that other programs on the machine matter little; memory is kept, as in training. Takes some minutes.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from omniformer.allocator import keep_memory
from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Rule
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.linformer import LinformerAttention
from omniformer.core.variants.performer import PerformerAttention
from omniformer.core.variants.reformer import ReformerAttention

_DRAWS = 5
_LENGTHS = (1024, 2048, 4096, 8192)


def relative(found: Tensor, exact: Tensor) -> float:
    """The length of the error over that of the exact result."""
    return ((found - exact).norm() / exact.norm()).item()


def performer_error(n_features: int, rule: Rule) -> float:
    """Against softmax attention with the same weights: 512 tokens, 4 heads of 32, queries and keys of variance 1/4."""
    errors = []
    for draw in range(_DRAWS):
        torch.manual_seed(draw)
        layer = PerformerAttention(d_model=128, n_heads=4, n_features=n_features, seed=draw)
        context = Context(plan=lower(rule, Layout.from_lengths(512)))
        x = torch.randn(512, 128)
        layer.draw_weights(0.5 / 128**0.5, 128**-0.5)
        q, k, v = layer.project(x, context)
        errors.append(relative(layer(x, context), layer.join(context.plan.attend(q, k, v))))
    return sum(errors) / _DRAWS


def reformer_error(n_rounds: int) -> float:
    """Against the same layer with one bucket a head, which every token shares: 512 tokens, 16 buckets."""
    errors = []
    for draw in range(_DRAWS):
        torch.manual_seed(draw)
        layer = ReformerAttention(d_model=128, n_heads=4, n_rounds=n_rounds, n_buckets=16, chunk_size=512, seed=draw)
        context = Context(plan=lower(Causal(), Layout.from_lengths(512)))
        x = torch.randn(512, 128)
        found = layer(x, context)
        layer.directions = torch.zeros_like(layer.directions[:1])
        errors.append(relative(found, layer(x, context)))
    return sum(errors) / _DRAWS


def linformer_error(rank: int) -> float:
    """Against exact attention: means of neighbours as the projection, a random walk of 512 tokens as the input."""
    errors = []
    for draw in range(_DRAWS):
        torch.manual_seed(draw)
        layer = LinformerAttention(d_model=128, n_heads=4, max_seq_len=512, rank=rank)
        means = torch.eye(rank).repeat_interleave(512 // rank, dim=0) * rank / 512
        layer.squeeze_k.data, layer.squeeze_v.data = means, means.clone()
        context = Context(plan=lower(Full(), Layout.from_lengths(512)))
        x = torch.randn(512, 128).cumsum(0) / 16
        exact = layer.join(context.plan.attend(*layer.project(x, context)))
        errors.append(relative(layer(x, context), exact))
    return sum(errors) / _DRAWS


def cpu_seconds(layer: nn.Module, rule: Rule, length: int) -> float:
    """One pass forward and backward over a sample: the least of three, after one to warm up."""
    layout, x = Layout.from_lengths(length), torch.randn(length, 128, requires_grad=True)
    context, times = Context(plan=lower(rule, layout)), []
    for _ in range(4):
        start = time.process_time()
        layer(x, context).sum().backward()
        times.append(time.process_time() - start)
    return min(times[1:])


def slope(times: list[float]) -> float:
    """The exponent of the length in the cost: least squares of the logarithms."""
    x = torch.tensor([math.log(n) for n in _LENGTHS])
    y = torch.tensor([math.log(t) for t in times])
    return (((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


def print_errors(name: str, sizes: tuple[int, ...], error: Callable[[int], float]) -> None:
    """One row a size."""
    print(f"\n| {name} | relative error | against the one before |\n|---|---|---|")
    errors = [error(size) for size in sizes]
    print(f"| {sizes[0]} | {errors[0]:.2g} | |")
    for size, (before, now) in zip(sizes[1:], pairwise(errors), strict=True):
        print(f"| {size} | {now:.2g} | {now / before:.2f} |")


@torch.no_grad()
def print_all_errors() -> None:
    """The three error curves."""
    print_errors("features (Full)", (16, 64, 256, 1024, 4096), partial(performer_error, rule=Full()))
    print_errors("features (Causal)", (16, 64, 256, 1024, 4096), partial(performer_error, rule=Causal()))
    print_errors("rounds", (1, 2, 4, 8, 16, 32), reformer_error)
    print_errors("rank", (16, 32, 64, 128, 256, 512), linformer_error)


def print_costs() -> None:
    """Seconds by length, and the exponent."""
    linformer = partial(LinformerAttention, max_seq_len=max(_LENGTHS), rank=256)
    reformer = partial(ReformerAttention, n_rounds=2, n_buckets=64)
    layers: dict[str, tuple[Callable[..., nn.Module], Rule]] = {
        "exact, causal": (SelfAttention, Causal()),
        "linear, full": (LinearAttention, Full()),
        "linear, causal": (LinearAttention, Causal()),
        "Performer, 256 features, causal": (partial(PerformerAttention, n_features=256), Causal()),
        "Linformer, rank 256, full": (linformer, Full()),
        "Reformer, 2 rounds, causal": (reformer, Causal()),
    }
    lengths = " | ".join(map(str, _LENGTHS))
    print(f"\n| CPU ms, 4 heads of 32 | {lengths} | exponent |\n|---|{'---|' * (len(_LENGTHS) + 1)}")
    for name, (make, rule) in layers.items():
        layer = make(d_model=128, n_heads=4)
        times = [cpu_seconds(layer, rule, length) for length in _LENGTHS]
        print(f"| {name} | {' | '.join(f'{1000 * t:.0f}' for t in times)} | {slope(times):.2f} |")


if __name__ == "__main__":
    keep_memory()
    torch.set_num_threads(1)
    print_all_errors()
    print_costs()
