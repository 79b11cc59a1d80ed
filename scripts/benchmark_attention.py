"""Measures the attention kernels: against other libraries, against each other, and how their cost grows.

    python scripts/benchmark_attention.py edges      one graph layer against PyTorch Geometric: time and peak memory
    python scripts/benchmark_attention.py growth     cost of `banded` by length, of `edges` by edges: log-log slopes
    python scripts/benchmark_attention.py packed     ragged batches: packed against padded
    python scripts/benchmark_attention.py costs      the table in omniformer/core/attention/dispatch.py

Contenders take turns in one process, so whatever else the machine does falls on all of them alike. Printed for each:
the least and the median wall time and the least processor time (all cores together). Peak memory is that of a fresh
process which runs one contender. `--default-allocator` leaves glibc's allocator as it is; else it keeps freed blocks,
as our training entry point tells it to, for every contender.
"""

import argparse
import gc
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from omniformer.allocator import keep_memory
from omniformer.core import Layout, Rule
from omniformer.core.attention.plan import KERNELS
from omniformer.core.rules import Causal, Full, Neighbours, Window, bigbird, longformer, mistral

Step = Callable[[], object]


def measure(steps: dict[str, Step], repeats: int) -> dict[str, tuple[float, float, float]]:
    """For each step the least and the median wall time and the least processor time, in ms, taking turns."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(repeats):
        for name, step in steps.items():
            wall_start, start = time.perf_counter(), time.process_time()
            step()
            processor[name].append(1e3 * (time.process_time() - start))
            wall[name].append(1e3 * (time.perf_counter() - wall_start))
    return {name: (min(wall[name]), sorted(wall[name])[repeats // 2], min(processor[name])) for name in steps}


def show(title: str, times: dict[str, tuple[float, float, float]]) -> None:
    """Prints a table of times, each with its ratio of processor time to the first row's."""
    print(f"\n{title}\n{'':34}{'least ms':>10}{'median ms':>11}{'cpu ms':>10}{'cpu ratio':>11}")
    first = next(iter(times.values()))[2]
    for name, (least, median, processor) in times.items():
        print(f"{name:34}{least:10.2f}{median:11.2f}{processor:10.2f}{processor / first:11.2f}")


def slope(sizes: list[int], costs: list[float]) -> float:
    """Slope of the line of least squares through the logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def forward_and_backward(attend: Callable[..., Tensor], n_tokens: int, n_heads: int, head_dim: int) -> Step:
    """A step through attention with leaves of its own."""
    generator = torch.Generator().manual_seed(0)
    q, k, v, grad = (torch.randn(n_tokens, n_heads, head_dim, generator=generator) for _ in range(4))
    leaves = [x.requires_grad_() for x in (q, k, v)]
    return lambda: torch.autograd.grad(attend(*leaves), leaves, grad)


def kernel_step(name: str, rule: Rule, layout: Layout, n_heads: int, head_dim: int) -> Step:
    """A step through one of our kernels, lowered beforehand."""
    kernel = KERNELS[name](rule, layout, layout)
    return forward_and_backward(
        lambda q, k, v: kernel(q, k, v, scale=head_dim**-0.5), layout.n_tokens, n_heads, head_dim
    )


def random_graph(n_nodes: int, n_edges: int) -> Layout:
    """A graph of different edges, drawn evenly."""
    number = torch.randint(0, n_nodes * n_nodes, (n_edges + n_edges // 50,), generator=torch.Generator().manual_seed(0))
    number = torch.unique(number)
    number = number[torch.randperm(len(number), generator=torch.Generator().manual_seed(1))[:n_edges]]
    return Layout(lengths=torch.tensor([n_nodes]), edges=torch.stack([number // n_nodes, number % n_nodes]))


def pyg_step(layout: Layout, n_heads: int, head_dim: int) -> Step:
    """PyTorch Geometric's TransformerConv between its projections: gather, softmax, scatter."""
    from torch_geometric.nn import TransformerConv

    conv = TransformerConv(n_heads * head_dim, head_dim, heads=n_heads)
    return forward_and_backward(
        lambda q, k, v: conv.propagate(layout.edges, query=q, key=k, value=v, edge_attr=None),
        layout.n_tokens,
        n_heads,
        head_dim,
    )


def graph_step(name: str, n_nodes: int, n_edges: int) -> Step:
    """The step of a contender on a random graph, 4 heads of 16."""
    layout = random_graph(n_nodes, n_edges)
    return pyg_step(layout, 4, 16) if name == "pyg" else kernel_step("edges", Neighbours(), layout, 4, 16)


def band_step(name: str, n_tokens: int) -> Step:
    """The step of a rule by the banded kernel, 4 heads of 64."""
    return kernel_step("banded", BANDS[name], Layout.from_lengths(n_tokens), 4, 64)


BANDS = {
    "window with sinks": mistral(window=128, sinks=4),
    "longformer": longformer(window=128, n_global=2),
    "bigbird": bigbird(size=32, n_random=2, n_global=1),
}


def peak_memory(arguments: list[str], flags: list[str]) -> float:
    """MiB that two steps of a contender add to a fresh process, its inputs and lowered plan not counted."""
    command = [sys.executable, __file__, "peak", *arguments, *flags]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resident(what: str) -> float:
    """Memory of this process now ("VmRSS") or at most since the mark was reset ("VmHWM"), in MiB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def peak(contender: str, sizes: list[int]) -> None:
    """Prints the memory of one contender: the child of `peak_memory`."""
    if contender in BANDS:
        small, step = band_step(contender, 512), band_step(contender, *sizes)
    else:
        small, step = graph_step(contender, 10, 20), graph_step(contender, *sizes)
    small()  # so that the code itself is in memory
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = resident("VmRSS")
    step()
    step()
    print(resident("VmHWM") - before)


def edges(repeats: int, flags: list[str]) -> None:
    """One graph attention layer: 20,000 nodes, 200,000 edges, 4 heads of 16."""
    contenders = {"ours": "edges", "PyTorch Geometric": "pyg"}
    steps = {label: graph_step(name, 20_000, 200_000) for label, name in contenders.items()}
    show("20,000 nodes, 200,000 edges, 4 heads of 16, forward and backward", measure(steps, repeats))
    for label, name in contenders.items():
        print(f"{label:34}{peak_memory([name, '20000', '200000'], flags):10.1f} MiB at most")
    layout = random_graph(20_000, 200_000)
    show("lowering", measure({"edges": lambda: kernel_step("edges", Neighbours(), layout, 4, 16)}, repeats))


def growth(repeats: int, flags: list[str]) -> None:
    """How cost grows: lengths for bands, edges for graphs."""
    lengths = [1024 * 2**i for i in range(6)]
    for name in BANDS:
        report(f"banded, {name}, tokens", lengths, {n: band_step(name, n) for n in lengths}, repeats)
        print_memory(lengths, [peak_memory([name, str(n)], flags) for n in lengths])
    counts = [10_000, 31_623, 100_000, 316_228, 1_000_000]
    report("edges, 10 for each node", counts, {n: graph_step("edges", n // 10, n) for n in counts}, repeats)
    print_memory(counts, [peak_memory(["edges", str(n // 10), str(n)], flags) for n in counts])


def report(title: str, sizes: list[int], steps: dict[int, Step], repeats: int) -> None:
    """Prints processor time by size, and its slope."""
    times = measure({str(size): step for size, step in steps.items()}, repeats)
    show(title, times)
    print(f"log-log slope of processor time: {slope(sizes, [cost[2] for cost in times.values()]):.3f}")


def print_memory(sizes: list[int], memory: list[float]) -> None:
    """Prints peak memory by size, and its slope over the four greatest sizes, where pages do not hide it."""
    print("peak memory, MiB: " + ", ".join(f"{size}: {mib:.1f}" for size, mib in zip(sizes, memory, strict=True)))
    print(f"log-log slope of peak memory, four greatest: {slope(sizes[-4:], memory[-4:]):.3f}")


def packed(repeats: int, flags: list[str]) -> None:
    """Ragged texts: ours against one padded block and against one call for each text."""
    del flags
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(16, 513, (32,), generator=generator).tolist()
    one_long = [64] * 63 + [2048]
    for title, lengths in (("32 texts of 16 to 512 tokens", texts), ("63 texts of 64 tokens, one of 2048", one_long)):
        layout = Layout.from_lengths(*lengths)
        steps = {
            "ours": kernel_step("dense", Causal(), layout, 6, 64),
            "padded": forward_and_backward(
                lambda q, k, v, layout=layout: _padded(layout, q, k, v), layout.n_tokens, 6, 64
            ),
            "one by one": forward_and_backward(
                lambda q, k, v, layout=layout: _singly(layout, q, k, v), layout.n_tokens, 6, 64
            ),
        }
        show(f"{title}, causal, 6 heads of 64, forward and backward", measure(steps, repeats))


def _padded(layout: Layout, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (layout.pad(x).transpose(1, 2) for x in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return out.transpose(1, 2)[layout.sample, layout.index]


def _singly(layout: Layout, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    attend, lengths = torch.nn.functional.scaled_dot_product_attention, layout.lengths.tolist()
    samples = zip(*(x.transpose(0, 1).split(lengths, 1) for x in (q, k, v)), strict=True)
    outs = [attend(q_one, k_one, v_one, is_causal=True) for q_one, k_one, v_one in samples]
    return torch.cat(outs, 1).transpose(0, 1)


def costs(repeats: int, flags: list[str]) -> None:
    """What a pair costs in each kernel, in units of one of a masked dense block: the table of the dispatch."""
    del flags
    for n_heads, head_dim in ((4, 64), (8, 32), (4, 16)):
        layout, graph = Layout.from_lengths(1024), random_graph(1024, 40_000)
        steps = {
            "dense masked": (kernel_step("dense", Window(600, 600), layout, n_heads, head_dim), 1024**2),
            "dense full": (kernel_step("dense", Full(), layout, n_heads, head_dim), 1024**2),
            "dense causal": (kernel_step("dense", Causal(), layout, n_heads, head_dim), 1024**2),
            "edges": (kernel_step("edges", Neighbours(), graph, n_heads, head_dim), 40_000),
        }
        for width in (32, 64, 128, 256):
            rule = Window(width, width)
            steps[f"banded, blocks of {width}"] = (
                kernel_step("banded", rule, layout, n_heads, head_dim),
                1024 * 3 * width,
            )
        times = measure({name: step for name, (step, _) in steps.items()}, repeats)
        unit = times["dense masked"][2] / 1024**2
        print(f"\n{n_heads} heads of {head_dim}: a masked dense pair takes {1e6 * unit / n_heads:.2f} ns a head")
        for name, (_, pairs) in steps.items():
            print(f"{name:34}{times[name][2] / pairs / unit:10.2f}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["edges", "growth", "packed", "costs", "peak"])
    parser.add_argument("rest", nargs="*", help="for peak: contender and sizes")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--default-allocator", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.default_allocator:
        keep_memory()
    if options.what == "peak":
        return peak(options.rest[0], [int(size) for size in options.rest[1:]])
    flags = ["--threads", str(options.threads), *(["--default-allocator"] if options.default_allocator else [])]
    memory = "default" if options.default_allocator else "kept"
    print(f"torch {torch.__version__}, {options.threads} threads, {memory} memory")
    return {"edges": edges, "growth": growth, "packed": packed, "costs": costs}[options.what](options.repeats, flags)


if __name__ == "__main__":
    main()
