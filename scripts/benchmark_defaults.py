"""Runs the default of every modality with several seeds and prints the table of docs/results.md.

Run: `uv run python scripts/benchmark_defaults.py --seeds 0 1 2` (about 20 minutes on 2 CPU cores). Runs that the output
folder holds already are not run again, so an interrupted table goes on where it stopped.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

SINGLE = {"vision": "test/accuracy", "text": "test/bits_per_byte", "audio": "test/accuracy", "graph": "test/auroc"}


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("outputs/defaults"), help="where the runs go")
    given = parser.parse_args()
    runs = {modality: [numbers(modality, seed, given.output) for seed in given.seeds] for modality in (*SINGLE, "all")}
    print("| run | metric | mean | spread | seconds | tokens/s | values by seed |")
    print("|---|---|---|---|---|---|---|")
    for modality, found in runs.items():
        metrics = (
            {m: m for m in (SINGLE[modality],)} if modality in SINGLE else {f"{n}/{m}": m for n, m in SINGLE.items()}
        )
        for name in metrics:
            print(row(f"`modality={modality}`", name, found))


def numbers(modality: str, seed: int, output: Path) -> dict[str, float]:
    """The metrics of one run, which is run unless it is there."""
    folder = output / f"{modality}-{seed}"
    if not (folder / "model" / "config.json").is_file():
        command = [sys.executable, "-m", "omniformer.train", f"modality={modality}", f"seed={seed}"]
        subprocess.run([*command, f"paths.output_dir={folder}"], check=True, stdout=sys.stderr)
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def row(run: str, metric: str, found: list[dict[str, float]]) -> str:
    """One line of the table: mean, spread (largest less smallest) and the values themselves."""
    values = [one[metric] for one in found]
    seconds = statistics.median(one["train/seconds"] for one in found)
    rate = statistics.median(one["train/tokens_per_second"] for one in found)
    each = ", ".join(f"{value:.4f}" for value in values)
    spread = max(values) - min(values)
    return f"| {run} | {metric} | {statistics.mean(values):.4f} | {spread:.4f} | {seconds:.0f} | {rate:,.0f} | {each} |"


if __name__ == "__main__":
    main()
