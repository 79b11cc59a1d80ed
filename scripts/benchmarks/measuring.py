"""Contenders that take turns: their times and memory, what they compute, and what the machine could do at most."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from omniformer.inspection.cost import parameters

Step = Callable[[], object]
_PRODUCTS = ("mm", "scaled_dot_product")  # in the names of operators: mm, addmm, bmm, baddbmm, and those of attention


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do the work of a subject.

    Args:
        name: as it is printed.
        step: does the work once.
        n_parameters: weights of its model.
        traffic: bytes that a step cannot but read and write of weights, gradients and the state of the optimizer.
        alike: whether it must compute as much as ours; not one that pads, or that is only an ideal.
        precision: of its matrix products.
    """

    name: str
    step: Step
    n_parameters: int
    traffic: float
    alike: bool = True
    precision: torch.dtype = torch.float32


def training(
    name: str, model: nn.Module, loss: Callable[[], Tensor], *, bf16: bool = False, alike: bool = True
) -> Contender:
    """Steps of fused AdamW: forward and backward pass, clipping, update."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    n = parameters(model)
    # Numbers of a weight: read in two passes, its gradient written, read by the norm, 4 read and 3 written by AdamW.
    precision = torch.bfloat16 if bf16 else torch.float32
    return Contender(name=name, step=step, n_parameters=n, traffic=4 * 11 * n, alike=alike, precision=precision)


MEDIUM = ", medium"


def at_medium(contender: Contender) -> Contender:
    """The same with products of float32 as `trainer.matmul_precision=medium` has them."""

    def step() -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            contender.step()
        finally:
            torch.set_float32_matmul_precision(before)

    return replace(contender, name=contender.name + MEDIUM, step=step)


def products_alone(contender: Contender) -> Contender:
    """The products and fused attentions of one step of a contender, on the very numbers, and nothing else: the least
    that a step can take that computes as much by the same kernels.
    """
    with _Recorded() as recorded:
        contender.step()

    def step() -> None:
        with torch.no_grad():
            for call in recorded.calls:
                call()

    name = f"{contender.name}, products and attention alone"
    return replace(contender, name=name, step=step, traffic=0.0, alike=False)


class _Recorded(TorchDispatchMode):
    """Keeps what is multiplied, with its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Step] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if any(each in func.overloadpacket.__name__ for each in _PRODUCTS):
            self.calls.append(partial(func, *args, **options))
        return func(*args, **options)


def computed(contender: Contender) -> int:
    """Operations of the matrix products and fused attentions of a step."""
    with FlopCounterMode(display=False) as counter:
        contender.step()
    return counter.get_total_flops()


def allocated(contender: Contender) -> int:
    """Bytes that tensors of a step hold at most beyond what was held before, whatever the allocator keeps."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        contender.step()
    inner: Any = profiled.profiler
    events = sorted(
        (event.start_ns(), event.nbytes()) for event in inner.kineto_results.events() if event.name() == "[memory]"
    )
    held = most = 0
    for _, n_bytes in events:
        held += n_bytes
        most = max(most, held)
    return most


def take_turns(contenders: list[Contender], rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Wall and processor seconds of every round, by contender; whatever else the machine does falls on all alike."""
    wall: list[list[float]] = [[] for _ in contenders]
    processor: list[list[float]] = [[] for _ in contenders]
    for contender in contenders:
        contender.step()
    for number in range(rounds):
        order = range(len(contenders)) if number % 2 == 0 else reversed(range(len(contenders)))
        for i in order:
            wall_start, start = time.perf_counter(), time.process_time()
            contenders[i].step()
            processor[i].append(time.process_time() - start)
            wall[i].append(time.perf_counter() - wall_start)
    return wall, processor


def product_rate(dtype: torch.dtype, size: int = 1024) -> float:
    """Operations in a second of a matrix product."""
    a, b = (torch.randn(size, size, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _least(lambda: a @ b)


def bandwidth(n_bytes: int = 1 << 28) -> float:
    """Bytes read and written in a second by a copy."""
    source = torch.randn(n_bytes // 4)
    target = torch.empty_like(source)
    return 2 * n_bytes / _least(lambda: target.copy_(source))


def _least(work: Step, repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a contender.

    Args:
        name: of the contender.
        least: wall seconds of its fastest round.
        middle: wall seconds of its median round.
        processor: processor seconds of its median round, all cores together.
        ratio: its wall time over ours, the median over rounds: above 1 we are faster.
        processor_ratio: the same of the least processor times, which depend less on who else is at work.
        memory: bytes that tensors of a step hold at most.
        limit: seconds that the machine of this run needs at least.
    """

    name: str
    least: float
    middle: float
    processor: float
    ratio: float
    processor_ratio: float
    memory: int
    limit: float


def rows(contenders: list[Contender], rounds: int) -> list[Row]:
    """Measures all contenders of a subject, the first of which is ours."""
    rates = {precision: product_rate(precision) for precision in {each.precision for each in contenders}}
    copied = bandwidth()
    wall, processor = take_turns(contenders, rounds)
    found = []
    for i, contender in enumerate(contenders):
        memory = allocated(contender)
        # What a step allocates is written once and read once.
        limit = max(computed(contender) / rates[contender.precision], (contender.traffic + 2 * memory) / copied)
        row = Row(
            name=contender.name,
            least=min(wall[i]),
            middle=median(wall[i]),
            processor=median(processor[i]),
            ratio=median(theirs / own for theirs, own in zip(wall[i], wall[0], strict=True)),
            processor_ratio=min(processor[i]) / min(processor[0]),
            memory=memory,
            limit=limit,
        )
        found.append(row)
    return found


def differences(contenders: list[Contender]) -> list[str]:
    """In what contenders differ from the first that must not: weights by more than 1 %, operations by more than 2 %."""
    alike = [each for each in contenders if each.alike]
    said = []
    for what, tolerance, counts in (
        ("weights", 0.01, [each.n_parameters for each in alike]),
        ("operations", 0.02, [computed(each) for each in alike]),
    ):
        for each, count in zip(alike[1:], counts[1:], strict=True):
            if abs(count - counts[0]) > tolerance * counts[0]:
                said.append(f"{each.name} has {count:,} {what}, {alike[0].name} {counts[0]:,}")
    return said
