"""What was trained on what, for how long, how fast, and the command that makes it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from omniformer.config.called import versions
from omniformer.data.module import OmniDataModule
from omniformer.data.source import SPLITS, set_name
from omniformer.pages.blocks import Block, Command, Section, Table, Words
from omniformer.recipe import members
from omniformer.report.run import Run
from omniformer.training.results import format_number

_MADE_BY = "# omniformer "  # how the first line of a config.yaml begins


def about(run: Run, data: OmniDataModule | None) -> Section:
    """The members with their sizes, the model, and how it learned.

    Args:
        run: the run.
        data: of the run; None where they cannot be read, so that nothing is counted.
    """
    rows = [_member(name, member, data) for name, member in members(run.config).items()]
    header = ["member", "task", "data", "reads", *SPLITS, "classes"]
    if not any(row[-1] for row in rows):  # no task of the run has any
        header, rows = header[:-1], [row[:-1] for row in rows]
    return Section("What was trained", [Table(header, rows), Table(["setting", "value"], _settings(run))])


def _member(name: str, member: Mapping[str, Any], data: OmniDataModule | None) -> list[str]:
    described = [name, _class(member["task"]), data_of(member["data"])]
    if data is None:
        return [*described, *["not known"] * 5]
    stream = data.streams[name]
    counts = [f"{len(stream.raws(split)):,}" for split in SPLITS]
    return [*described, ", ".join(data.tokenizers[name]), *counts, str(len(data.labels(name)) or "")]


def data_of(node: Mapping[str, Any]) -> str:
    """The data set of a member in words: what its samples are called by, or its class, and its files where it is a
    table.
    """
    source = node.get("source") or node
    if named := set_name(source.get("ids")):
        return named
    files = source.get("files") or source.get("train")
    return _class(source) + (f" of {', '.join(map(str, files)) if isinstance(files, list) else files}" if files else "")


def _class(node: Any) -> str:
    return str(node.get("_target_", "")).rsplit(".", 1)[-1] if isinstance(node, Mapping) else str(node)


def _settings(run: Run) -> list[list[str]]:
    """What people ask first of a run; `config.yaml` has the rest."""
    config, numbers = run.config, run.numbers
    core, optim = config.get("core") or {}, config.get("optim") or {}
    found = {
        "parameters": _number(numbers, "parameters"),
        "of which trained": _number(numbers, "trained_parameters"),
        "core": ", ".join(f"{key} {core[key]}" for key in ("d_model", "n_layers", "n_heads") if core.get(key)),
        "begun from": (config.get("model") or {}).get("pretrained") or "fresh weights",
        "optimizer": ", ".join(
            [_class(optim), *(f"{key} {optim[key]}" for key in _OPTIM if optim.get(key) is not None)]
        ),
        "epochs": _number(numbers, "epochs"),
        "steps": _number(numbers, "steps"),
        "samples seen": _number(numbers, "train/samples"),
        "seed": str(config.get("seed", "")),
        "precision": str((config.get("trainer") or {}).get("precision", "")),
        "report written with": versions(),
    }
    return [[name, str(value)] for name, value in found.items() if value]


_OPTIM = ("lr", "weight_decay", "schedule", "warmup_steps")


def _number(numbers: Mapping[str, float], name: str) -> str:
    return format_number(name, numbers[name]) if name in numbers else ""


def cost(run: Run) -> Section:
    """Seconds, tokens a second, memory, as far as the run noted them."""
    numbers, curves = run.numbers, run.curves
    rows = [
        [said, format_number(name, numbers[name])]
        for name, said in (
            ("train/seconds", "seconds of training, validations included"),
            ("train/tokens", "tokens learned from"),
            ("train/tokens_per_second", "tokens a second, outside of validations"),
            ("train/machine_share", "share of what a plain matrix product would have done in that time"),
        )
        if name in numbers
    ]
    if memory := curves.get("train/memory_gib"):
        rows.append(["memory at most, GiB", f"{max(memory.values()):.2f}"])
    blocks: list[Block] = [Table(["what", "value"], rows)] if rows else [Words("The run noted none of it.")]
    profile = next(iter(sorted(run.folder.glob("fit-profile*.txt"))), None)
    if profile is not None:
        blocks += _rooms(profile)
    return Section("Time and memory", blocks)


def _rooms(profile: Path) -> list[Block]:
    """Milliseconds of a step by room, as `omniformer.training.rooms` writes them above the report by hook."""
    lines = profile.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    found = [line.rsplit(maxsplit=2) for line in lines]
    hooks: list[Block] = [Words(f"{profile.name} of the run folder says where the time went, by hook.")]
    if not found or found[0][1:] != ["ms", "share"]:
        return hooks
    return [Table(["room", "ms", "share"], found[1:], f"Where the time goes in {found[0][0]}"), *hooks]


def again(run: Run) -> Section:
    """The command that makes the run again."""
    with (run.folder / "config.yaml").open(encoding="utf-8") as file:
        first = file.readline().rstrip("\n")
    if first.startswith(_MADE_BY):
        return Section("To make it again", [Command(first.removeprefix("# "))])
    config = yaml.safe_dump(str(run.folder / "config.yaml"), default_style='"').strip()
    told = Words(
        "The command was not noted; config.yaml holds every setting, the run folder among them (paths.output_dir):"
    )
    code = f"import yaml, omniformer.experiment\nomniformer.experiment.train(yaml.safe_load(open({config})))"
    return Section("To make it again", [told, Command(code)])
