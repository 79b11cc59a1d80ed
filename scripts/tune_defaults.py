"""Chooses one recipe of several for all of a kind of data, by rank over sets that none of them was made for.

Run: `uv run python scripts/tune_defaults.py vision --recipes recipes.yaml --data-root DATA --seconds 180`.
`recipes.yaml` names each recipe and what it adds to the command line of a run:

    default: []
    faster: [optim.lr=0.006]

What `omniformer prepare` has written for sets of one's own are sets, too: `--config-dir my_conf`, with the proposal as
it is where a recipe adds nothing. `scripts/write_small_sets.py` makes some.

Every recipe learns every set with every seed, until it is through or the time is up. Within a set recipes are ranked by
their mean score on validation; the recipe of the least mean rank is the choice. For each set a choice is made without
it, too, whose scores there, on test, stand beside the best simple method's (`omniformer baseline`): what somebody may
expect on data that no recipe has seen. Simple methods are computed once a set, by its first run. Tables go to stdout.
Runs are kept by name in the output folder, and not run again.
"""

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from omniformer.train import main as train

# By kind: the sets, and further ones made of them by fewer labels, as what is added to the command line.
SETS: dict[str, dict[str, list[str]]] = {
    "vision": {
        "digits": ["modality=vision"],
        "digits, 1 label in 10": ["modality=vision", "data.train_share=0.1"],
        "mnist, 1 label in 50": ["experiment=mnist", "steps_per_epoch=null", "data.train_share=0.02"],
        "cifar10, 1 label in 10": ["experiment=cifar10", "data.train_share=0.1"],
    },
    "text": {
        "intents": ["experiment=intents"],
        "intents, 1 label in 10": ["experiment=intents", "data.train_share=0.1"],
        "reviews": ["experiment=sentence_polarity"],
        "reviews, 1 label in 10": ["experiment=sentence_polarity", "data.train_share=0.1"],
    },
    "audio": {
        "spoken digits": ["experiment=spoken_digits"],
        "spoken digits, 1 label in 10": ["experiment=spoken_digits", "data.train_share=0.1"],
        "sounds": ["experiment=esc10"],
    },
    "graph": {
        "esol": ["experiment=esol"],
        "mutag": ["experiment=mutag"],
        "nci1, 1 label in 10": ["experiment=nci1", "data.train_share=0.1"],
        "nci1, 1 label in 3": ["experiment=nci1", "data.train_share=0.3333"],
    },
    "nodes": {
        "cora": ["experiment=cora"],
        "karate": ["experiment=karate"],
    },
}
Scores = Mapping[str, Mapping[str, float]]
"""Of each set, by recipe, more being better."""


def main() -> None:
    """Runs what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SETS)
    parser.add_argument("--recipes", type=Path, required=True, help="YAML: a list of overrides by name of recipe")
    parser.add_argument("--config-dir", type=Path, help="its experiments are sets, too, by their names")
    parser.add_argument("--sets", nargs="+", help="some of the sets, by name; all by default")
    parser.add_argument("--data-root", required=True, help="the folder of data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=180.0, help="how long each run may learn")
    parser.add_argument("--output", type=Path, default=Path("outputs/tuning"), help="where the runs go")
    given = parser.parse_args()
    recipes: dict[str, list[str]] = yaml.safe_load(given.recipes.read_text(encoding="utf-8"))
    sets = SETS[given.kind] | prepared(given.config_dir)
    if unknown := sorted(set(given.sets or ()) - set(sets)):
        parser.error(f"--sets: no set {unknown[0]!r} of {given.kind}; there are {', '.join(map(repr, sets))}")
    chosen = {name: sets[name] for name in given.sets or sets}
    if len(chosen) < 2:
        parser.error(f"--sets: received {len(chosen)}, accepted: 2 or more, since each is left out once")
    common = [f"data_root={given.data_root}", "report=false"]
    common.append(f"+trainer.max_time={{seconds: {given.seconds:g}}}")
    found = {
        name: learned(given.output, name, [*words, *common], recipes, given.seeds) for name, words in chosen.items()
    }
    print("\n".join([*table_of_recipes(found), "", *table_of_left_out(found)]))


def prepared(folder: Path | None) -> dict[str, list[str]]:
    """The experiments of a folder, by name, as what is added to the command line."""
    found = sorted((folder / "experiment").glob("*.yaml")) if folder else []
    return {file.stem: ["--config-dir", str(folder), f"experiment={file.stem}"] for file in found}


def learned(
    output: Path, name: str, words: Sequence[str], recipes: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> dict[str, list[dict[str, Any]]]:
    """What every recipe scores on a set with every seed; the first run computes the simple methods, too."""
    first = (next(iter(recipes)), seeds[0])
    return {
        recipe: [
            one(output, name, recipe, seed, [*words, f"baselines={str((recipe, seed) == first).lower()}", *extra])
            for seed in seeds
        ]
        for recipe, extra in recipes.items()
    }


def one(output: Path, name: str, recipe: str, seed: int, words: Sequence[str]) -> dict[str, Any]:
    """What a run has scored on validation and test, and the best simple method; it is run unless it is there."""
    file = output / f"{name}-{recipe}-{seed}.json".replace(" ", "_").replace(",", "")
    if not file.is_file():
        folder = file.with_suffix("")
        with contextlib.redirect_stdout(sys.stderr):  # tables of the runs
            score = train([*words, f"seed={seed}", f"paths.output_dir={folder}"])
        numbers = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        metric = score.metric.removeprefix("val/")
        tests = {key: value for key, value in numbers.items() if key.endswith(f"/test/{metric}") and "baseline/" in key}
        pick = max if score.mode == "max" else min
        best = pick(tests, key=lambda key: tests[key]) if tests else None
        row = {"metric": metric, "mode": score.mode, "val": float(score), "test": numbers.get(f"test/{metric}")}
        row |= {"baseline": best and best.split("/")[1], "baseline_test": best and tests[best]}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(row), encoding="utf-8")
        print(f"{name}, {recipe}, seed {seed}: {row}", file=sys.stderr)
    return json.loads(file.read_text(encoding="utf-8"))


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """The place of each recipe, 1 for the best; equals share the mean of their places.

    Example:
        >>> ranks({"a": 0.9, "b": 0.7, "c": 0.9})
        {'a': 1.5, 'b': 3.0, 'c': 1.5}
    """
    better = {name: sum(other > score for other in scores.values()) for name, score in scores.items()}
    equal = {name: sum(other == score for other in scores.values()) for name, score in scores.items()}
    return {name: better[name] + (equal[name] + 1) / 2 for name in scores}


def mean_ranks(scores: Scores) -> dict[str, float]:
    """The mean place of each recipe over all sets."""
    places = [ranks(of_set) for of_set in scores.values()]
    return {name: statistics.mean(place[name] for place in places) for name in places[0]}


def choice(scores: Scores) -> str:
    """The recipe of the least mean rank; of equals the first."""
    means = mean_ranks(scores)
    return min(means, key=lambda name: means[name])


def left_out(scores: Scores) -> dict[str, str]:
    """The recipe that is chosen for each set by all others."""
    return {name: choice({other: each for other, each in scores.items() if other != name}) for name in scores}


def validation(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> dict[str, dict[str, float]]:
    """Mean scores on validation, more being better."""
    return {
        name: {
            recipe: statistics.mean(run["val"] * (1 if run["mode"] == "max" else -1) for run in runs)
            for recipe, runs in of_set.items()
        }
        for name, of_set in found.items()
    }


def table_of_recipes(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> list[str]:
    """The mean on validation of each recipe on each set, and its mean rank."""
    means = mean_ranks(validation(found))
    lines = [f"| recipe | {' | '.join(found)} | mean rank |", "|---" * (len(found) + 2) + "|"]
    for recipe, rank in sorted(means.items(), key=lambda item: item[1]):
        values = (statistics.mean(run["val"] for run in of_set[recipe]) for of_set in found.values())
        lines.append(f"| {recipe} | {' | '.join(f'{value:.4f}' for value in values)} | {rank:.2f} |")
    return lines


def table_of_left_out(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> list[str]:
    """What the recipe that the other sets choose scores on the test split of each set, beside the simple method."""
    lines = ["| set | metric | chosen without it | ours | spread | simple method | its score |", "|---" * 7 + "|"]
    for name, recipe in left_out(validation(found)).items():
        runs = found[name][recipe]
        values, first = [run["test"] for run in runs], next(iter(found[name].values()))[0]
        ours = [f"{statistics.mean(values):.4f}", f"{max(values) - min(values):.4f}"]
        simple = ["none", ""] if first["baseline"] is None else [first["baseline"], f"{first['baseline_test']:.4f}"]
        lines.append(f"| {' | '.join([name, first['metric'], recipe, *ours, *simple])} |")
    return lines


if __name__ == "__main__":
    main()
