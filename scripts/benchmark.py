"""Measures the work that people do with this project beside the fastest that others offer for it.

    python scripts/benchmark.py lm_gpt2               one subject, or several, or all; --rounds, --threads
    python scripts/benchmark.py all --write           and rows, machine and goals in docs/benchmarks.md
    python scripts/benchmark.py all --quick           small: every subject runs, and both sides compute the same
    python scripts/benchmark.py all --products        and what ours would be if all but products and attention were free

Contenders take turns in one process, so whatever else the machine does falls on all of them alike. A ratio is another's
time over ours, the median over rounds: above 1 we are faster. `cpu` is the same of the least processor times. The limit
is the time that the machine of this very run needs at least, `max(operations / rate of a matrix product, bytes /
bandwidth)`, where the bytes are those of weights, gradients and optimizer, and of all that a step allocates, written
and read once; `share` is the limit over the median time. Memory is what the tensors of a step hold at most.
Freed blocks are kept for all contenders (`keep_memory`); `--default-allocator` leaves glibc as it is.
"""

import argparse
import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
from benchmarks.goals import with_goals
from benchmarks.measuring import Row, differences, products_alone, rows
from benchmarks.subjects import SUBJECTS

from omniformer.allocator import keep_memory

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_CONDITIONS = "Measured under these conditions, as the script found them:"
_HEADER = "| subject | contender | least ms | median ms | cpu ms | ratio | cpu | MiB | limit ms | share |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line.

    Raises:
        SystemExit: two sides of a subject that must compute the same do not.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="+", choices=[*SUBJECTS, "all"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--default-allocator", action="store_true")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is timed")
    parser.add_argument("--products", action="store_true", help="and the products and attentions of our step alone")
    parser.add_argument("--write", action="store_true", help=f"write rows, conditions and goals into {PAGE.name}")
    options = parser.parse_args(arguments)
    names = list(SUBJECTS) if "all" in options.subjects else options.subjects
    torch.manual_seed(0)
    if options.quick:
        check(names)
        return
    torch.set_num_threads(options.threads)
    kept = not options.default_allocator and keep_memory()
    print(f"{conditions(kept, options.rounds)}\n\n{_HEADER}")
    for name in names:
        said = conditions(kept, options.rounds)
        contenders = SUBJECTS[name](quick=False)
        contenders += [products_alone(contenders[0])] if options.products else []
        lines = [line(name, row) for row in rows(contenders, options.rounds)]
        print("\n".join(lines), flush=True)
        if options.write:
            page = with_conditions(with_rows(PAGE.read_text(encoding="utf-8"), name, lines), name, said)
            PAGE.write_text(with_goals(page, _HEADER), encoding="utf-8")


def check(names: Sequence[str]) -> None:
    """Runs small contenders of each subject once, and compares what they compute."""
    said = []
    for name in names:
        torch.manual_seed(0)  # lengths are drawn: the same whichever subjects are asked for
        said += [f"{name}: {each}" for each in differences(SUBJECTS[name](quick=True))]
    if said:
        raise SystemExit("not the same work: " + "; ".join(said))
    print(f"{len(names)} subjects: all sides compute the same")


def line(subject: str, row: Row) -> str:
    """A row of the table."""
    times = " | ".join(f"{1e3 * seconds:,.1f}" for seconds in (row.least, row.middle, row.processor))
    ratios = f"{row.ratio:.2f} | {row.processor_ratio:.2f}"
    limit = f"{1e3 * row.limit:,.1f} | {row.limit / row.middle:.0%}"
    return f"| {subject} | {row.name} | {times} | {ratios} | {row.memory / 2**20:,.0f} | {limit} |"


def conditions(kept: bool, rounds: int) -> str:
    """Machine, versions and load, so that nobody types them.

    Args:
        kept: whether freed blocks are kept.
        rounds: in which contenders take turns.
    """
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        said = []
    named = (each.partition(":")[2].strip() for each in said if each.startswith("model name"))
    processor = next(named, "") or platform.processor() or platform.machine()
    return (
        f"{date.today():%d %B %Y}, {os.cpu_count()} cores of {processor} ({torch.backends.cpu.get_cpu_capability()}), "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, memory {'kept' if kept else 'default'}, {rounds} rounds, "
        f"load before {os.getloadavg()[0]:.1f}"
    )


def with_conditions(page: str, subject: str, said: str) -> str:
    """The page with the conditions of a subject in place of those that it has, else behind the others.

    Raises:
        ValueError: the page has no list of them.
    """
    old = page.splitlines()
    if _CONDITIONS not in old:
        raise ValueError(f"{PAGE.name} has no line {_CONDITIONS!r}")
    start = old.index(_CONDITIONS) + 2
    end = next((i for i in range(start, len(old)) if not old[i].startswith("- ")), len(old))
    own = f"- `{subject}`: "
    listed = [f"{own}{said}" if each.startswith(own) else each for each in old[start:end]]
    listed += [] if f"{own}{said}" in listed else [f"{own}{said}"]
    return "\n".join([*old[:start], *listed, *old[end:]]) + "\n"


def with_rows(page: str, subject: str, lines: Sequence[str]) -> str:
    """The page with these rows of a subject in place of those that it has, else at the end of the table.

    Raises:
        ValueError: the page has no such table.
    """
    old = page.splitlines()
    if _HEADER not in old:
        raise ValueError(f"{PAGE.name} has no table that begins with {_HEADER}")
    start = old.index(_HEADER) + 2
    end = next((i for i in range(start, len(old)) if not old[i].startswith("|")), len(old))
    own = [i for i in range(start, end) if old[i].startswith(f"| {subject} |")]
    place = own[0] if own else end
    kept = [text for i, text in enumerate(old[:place]) if i not in own]
    rest = [text for i, text in enumerate(old[place:], start=place) if i not in own]
    return "\n".join([*kept, *lines, *rest]) + "\n"


if __name__ == "__main__":
    main()
