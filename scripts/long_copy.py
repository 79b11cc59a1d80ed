"""Copies eight letters across gaps of 64 to 1,024 steps with a transformer, with recurrent networks and with Bahdanau's
attention, and prints and draws accuracy and time per step against the gap.

Run: `uv run python scripts/long_copy.py --out outputs/long_copy` (about 10 minutes on 2 CPU cores; pictures need the
extra `plots`). Every run has 300 steps of 16 samples and about the same number of weights.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

CORES = {
    "transformer": ["core.encoder.n_layers=1", "core.encoder.n_heads=4"],
    "GRU with attention (Bahdanau)": ["core=bahdanau_tiny"],
    "GRU": ["core=gru_pair_tiny"],
    "LSTM": ["core=lstm_pair_tiny"],
}
GAPS = (64, 256, 1024)


def main() -> None:
    """Runs what is missing, prints the table, draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/long_copy"), help="where runs and picture go")
    parser.add_argument("--steps", type=int, default=300, help="training steps of each run (default: 300)")
    parser.add_argument("--batch-size", type=int, default=16, help="samples in a step (default: 16)")
    parser.add_argument("--gaps", type=int, nargs="+", default=list(GAPS), help="steps between reading and writing")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = {name: [numbers(name, gap, given) for gap in given.gaps] for name in CORES}
    print("| core | weights | gap | letters right | strings right | ms a training step |")
    print("|---|---|---|---|---|---|")
    for name, runs in found.items():
        for gap, run in zip(given.gaps, runs, strict=True):
            right = f"{1 - run['test/cer']:.3f} | {run['test/exact_match']:.3f}"
            print(f"| {name} | {run['parameters']:,.0f} | {gap:,} | {right} | {1000 * run['seconds_per_step']:.0f} |")
    draw(found, given.gaps, given.out / "long_copy.png")


def numbers(name: str, gap: int, given: argparse.Namespace) -> dict[str, float]:
    """The metrics of one run, which is run unless it is there."""
    short = name.split()[0].lower() + ("-attention" if "attention" in name else "")
    folder = given.out / f"{short}-{gap}-{given.seed}"
    if not (folder / "model" / "config.json").is_file():
        command = [sys.executable, "-m", "omniformer.train", "experiment=long_copy", *CORES[name], f"seed={given.seed}"]
        command += [
            f"data.source.gap={gap}",
            f"data.source.n_train={given.batch_size * given.steps}",
            f"data.batch_size={given.batch_size}",
            f"paths.output_dir={folder}",
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    tokens_a_step = found["train/tokens"] / found["steps"]
    return {**found, "seconds_per_step": tokens_a_step / found["train/tokens_per_second"]}


def draw(found: dict[str, list[dict[str, float]]], gaps: list[int], path: Path) -> None:
    """Accuracy and time per step against the gap, one line for each core."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print("no picture: matplotlib is missing; install the extra 'plots'")
        return
    figure, (accuracy, seconds) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for name, runs in found.items():
        accuracy.plot(gaps, [max(0.0, 1 - run["test/cer"]) for run in runs], marker="o", label=name)
        seconds.plot(gaps, [1000 * run["seconds_per_step"] for run in runs], marker="o", label=name)
    for axes, title in ((accuracy, "letters right"), (seconds, "ms a training step")):
        axes.set(xscale="log", xlabel="gap, steps", title=title)
        axes.set_xticks(gaps, [f"{gap:,}" for gap in gaps])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    accuracy.set_ylim(0, 1.05)
    accuracy.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
