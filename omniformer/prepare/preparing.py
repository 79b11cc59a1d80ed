"""All looks at somebody's data, one after the other, and what follows from them."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omniformer_tokenizers import Tokenizer

from omniformer.config.folder import conf_dir
from omniformer.config.validate import META
from omniformer.data.from_config import build_tokenizers
from omniformer.data.source import SPLITS, Raw, Split
from omniformer.data.table.opening import Opener
from omniformer.data.table.table import Table
from omniformer.model import can_name_a_part
from omniformer.prepare import graph_tables
from omniformer.prepare import leaks as same
from omniformer.prepare.balance import counted, in_words, trivial
from omniformer.prepare.choice import Choice, choose
from omniformer.prepare.columns import Column, columns_of
from omniformer.prepare.contents import OPENED, Contents, opened, tokenized
from omniformer.prepare.files import Files, files_of
from omniformer.prepare.graph_tables import graph_files
from omniformer.prepare.guesses import Guess, guess
from omniformer.prepare.page import page
from omniformer.prepare.proposal import Proposal, propose, tokenizers
from omniformer.prepare.report import report
from omniformer.prepare.sampling import some
from omniformer.prepare.writing import experiment

_FITTED = 5_000  # samples of training by which tokenizers are fitted here; a run takes them all
_SHOWN = 12  # samples on the page
_CUT = 0.1  # share of a picture from which it is said that it is cut off
_BAD = 0.05  # share of rows that may be passed over without anybody's word
Raws = dict[Split, list[Raw]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was found and written.

    Args:
        findings: all of it, as plain values.
        name: of the experiment.
        file: the experiment.
        page: some samples; None where there are no single ones.
        report: makes a text of the findings.
    """

    findings: dict[str, Any]
    name: str
    file: Path
    page: Path | None
    report: Callable[[Mapping[str, Any]], str] = report

    def told(self) -> str:
        """The report."""
        return self.report(self.findings)


def prepare(
    path: str | Path,
    *,
    targets: Sequence[str] = (),
    columns: Mapping[str, str | None] | None = None,
    out: str | Path = "my_conf",
    name: str | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Looks at data, proposes a run, and writes it as an experiment.

    Args:
        path: a table, a folder of tables, a saved set of `datasets`, a folder of class folders, or one with the tables
            `nodes` and `edges` of one graph.
        targets: the columns that are to be predicted; empty finds out.
        columns: roles by column, in the place of guesses; None leaves a column out.
        out: the folder of one's own configurations.
        name: of the experiment; None takes that of the file.
        overwrite: whether an experiment of that name may be replaced.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or it is not clear what its columns are for; says what to type. Or an experiment
            of that name comes along, which would be taken in its place.
        FileExistsError: there is an experiment of that name.
    """
    if (tables := graph_files(Path(path).expanduser().resolve())) is not None:
        return _prepared_graph(path, tables, targets, Path(out), _name(path, name), overwrite=overwrite)
    files, label = files_of(path), _name(path, name)
    seen, n_rows, told = _columns(files)
    guesses = {each: guess(column) for each, column in seen.items()}
    choice = choose(seen, guesses, targets=targets, given=columns)
    if kept := sorted(set(META).intersection(choice.columns)):
        raise ValueError(f"{path}: configurations keep the name {kept[0]!r} for themselves; rename that column")
    table = Table(columns=choice.columns, join=choice.join, **files)  # pyright: ignore[reportArgumentType]
    raws = _samples(table, _most(choice))
    problems = _problems(table, n_rows)
    split_by = _split_by(choice, told)
    splits = {split: len(table.split(split)) for split in SPLITS}
    rows = splits["train"]
    few = _some(raws, OPENED)
    contents = opened(few)
    nodes = tokenizers(choice, contents, rows)
    tokens = tokenized(contents, few, _fitted(build_tokenizers(nodes, label, table), raws["train"]))
    proposal = propose(choice, nodes, contents, rows=rows, tokens=tokens, labels=table.labels)
    file, shown = Path(out) / "experiment" / f"{label}.yaml", Path(out) / f"{label}.html"
    equal, compared = same.leaks(raws), sum(map(len, raws.values()))
    unread = _by_sample([*equal.pop("unreadable"), *(each for one in contents.values() for each in one.unreadable)])
    found = {
        "data": str(path),
        "rows": n_rows,
        "looked_at": max(column.rows for column in seen.values()),
        "columns": {each: _told(seen[each], guesses[each], choice) for each in seen},
        "problems": problems,
        "opened": compared,
        "unreadable": unread,
        "notes": [
            *_notes(nodes, contents),
            *_mirrored(proposal),
            *_unmeasured(splits, told),
            *(_repeated(seen, choice) if split_by.startswith("by the hash") else ()),
            *_unanswered(seen, choice),
        ],
        "splits": splits,
        "split_by": split_by,
        **counted(table, raws),
        "contents": {modality: one.told() for modality, one in contents.items()},
        "same": equal | {"compared": compared},
        "trivial": trivial(table, choice.roles, raws),
        "proposal": _run(proposal, nodes),
    }
    source = {**files, "columns": choice.columns, **({"join": choice.join} if choice.join else {})}
    keys = {**proposal.keys, "data": {"source": source, **proposal.keys["data"], **_passing(found, n_rows)}}
    about = _about(found, Path(out), label)
    experiment(file, about=about, groups=proposal.groups, keys={"name": label, **keys}, overwrite=overwrite)
    page(shown, f"{label}: some samples", _some(raws, _SHOWN), table.labels)
    return Prepared(findings=found, name=label, file=file, page=shown)


def _prepared_graph(
    path: str | Path, tables: tuple[Path, Path], targets: Sequence[str], out: Path, name: str, *, overwrite: bool
) -> Prepared:
    """The same of the two tables of a graph."""
    found = {"data": str(path), **graph_tables.looked(tables, targets)}
    file = out / "experiment" / f"{name}.yaml"
    about = f"omniformer train --config-dir {out} experiment={name}"
    keys = {"name": name, **found["proposal"]["keys"]}
    experiment(file, about=about, groups=found["proposal"]["groups"], keys=keys, overwrite=overwrite)
    return Prepared(findings=found, name=name, file=file, page=None, report=graph_tables.report)


def _columns(files: Files) -> tuple[dict[str, Column], int, set[Split | None]]:
    """The columns, how many rows there are, and which splits files say."""
    opener = Opener(data_root=None, delimiter=None, quotes=None, names=None, config=None, download=False)
    given: dict[Split | None, Any] = {None: files["files"]} if "files" in files else {**files}  # pyright: ignore[reportAssignmentType]
    rows, told = opener.open(given)
    return columns_of(rows), len(rows), set(told)


def _most(choice: Choice) -> int:
    """How many rows of a split are compared: fewer where each of them is a file."""
    return same.OPENED if choice.roles.given.keys() & {"vision", "audio", "video"} else same.COMPARED


def _samples(table: Table, most: int) -> Raws:
    """Some samples of each split.

    Raises:
        ValueError: no row can be read; names the first ones.
    """
    table.on_error = "skip"
    try:
        return {split: [table.split(split)[i] for i in some(len(table.split(split)), most)] for split in SPLITS}
    except ValueError as error:
        more = f": {'; '.join(table.broken[:5])}" if table.broken else ""
        raise ValueError(f"{error}{more}") from error


def _problems(table: Table, n_rows: int) -> list[str]:
    """The rows that cannot be read.

    Raises:
        ValueError: they are too many to be passed over without a word.
    """
    if len(table.broken) > max(_BAD * n_rows, 1):
        raise ValueError(
            f"{len(table.broken)} problems for {n_rows} rows, more than {_BAD:.0%}: {'; '.join(table.broken[:10])}; "
            "repair them, or say what the column is for with --columns '{column: role}', null to leave it out"
        )
    return list(table.broken)


def _by_sample(told: Sequence[str]) -> list[str]:
    """What is told of each sample first."""
    return list({each.partition(": ")[0]: each for each in reversed(told)}.values())[::-1]


def _some(raws: Mapping[Split, Sequence[Raw]], most: int) -> list[Raw]:
    every = [raw for split in SPLITS for raw in raws[split]]
    return [every[i] for i in some(len(every), most)]


def _fitted(made: dict[str, Tokenizer], trained: Sequence[Raw]) -> dict[str, Tokenizer]:
    """The tokenizers, fitted on some samples of training."""
    chosen = [trained[i] for i in some(len(trained), _FITTED)]
    for modality, tokenizer in made.items():
        if not tokenizer.fitted:
            every = [part[modality] for raw in chosen for part in (raw.contents, raw.answer) if modality in part]
            made[modality] = tokenizer.fit(every)
    return made


def _told(column: Column, guessed: Guess, choice: Choice) -> dict[str, Any]:
    return {
        "kind": guessed.kind,
        "why": guessed.why,
        "role": choice.columns.get(column.name),
        "left_out": choice.left_out.get(column.name),
        "rows": column.rows,
        "missing": column.missing,
        "distinct": column.distinct,
        "constant": column.distinct == 1,
    }


def _notes(nodes: Mapping[str, Any], contents: Mapping[str, Contents]) -> list[str]:
    """What the run needs, or loses, that a configuration does not show."""
    told = []
    if any(node["_target_"].endswith("MoleculeTokenizer") for node in nodes.values()):
        told.append("molecules are read by rdkit, which the run needs")
    if longest := max(contents["text"].measures.get("tokens") or [0]) if "text" in contents else 0:
        told += [f"texts of more than 1,024 tokens are cut; the longest has {longest:g}"] if longest > 1024 else []
    if "stretch_to" in nodes.get("audio", {}):
        told.append(
            "sounds are short and of different lengths, so they are taken for words that begin and end with their "
            f"recording, and stretched to {nodes['audio']['stretch_to']} frames; where words stand anywhere in them, "
            "tokenizer.audio.stretch_to=null '~task.head.pool' are for them"
        )
    if "vision" in nodes and "vision" in contents:
        told += _shrunk(nodes["vision"]["image_size"], contents["vision"])
    return told


def _shrunk(size: Sequence[int], seen: Contents) -> list[str]:
    """That pictures become smaller, and how many are cut."""
    height, width = size
    sides = [*zip(seen.measures.get("height", ()), seen.measures.get("width", ()), strict=True)]
    shrunk = [each for each in sides if each[0] * each[1] > height * width]
    if not shrunk:
        return []
    shapes = [(height * wide) / (width * high) for high, wide in sides]
    cut = sum(min(shape, 1 / shape) < 1 - _CUT for shape in shapes)
    told = (
        f"{len(shrunk)} of {len(sides)} pictures, up to {max(map(max, sides)):g} pixels long, shrink to "
        f"{height} x {width}; where small things tell the classes apart, tokenizer.vision.image_size="
        f"[{2 * height},{2 * width}] keeps more of them at four times the time"
    )
    lost = f"{cut} of {len(sides)} pictures are of another shape, of which the middle is read; "
    return [told, *([f"{lost}tokenizer.vision.resize=stretch reads all of them"] if cut else [])]


def _mirrored(proposal: Proposal) -> list[str]:
    """That training shows pictures mirrored, which may be none of their class any more."""
    note = (
        "every second picture is mirrored in training; where left and right make the class, as with letters or arrows, "
        "set data.augment.flip=0"
    )
    return [note] if proposal.keys["data"].get("augment", {}).get("flip") else []


def _unmeasured(splits: Mapping[str, int], told: Collection[Split | None]) -> list[str]:
    """Splits without a row, on which nothing can be measured."""
    empty = [split for split in SPLITS if not splits[split]]
    if None not in told and empty == ["test"]:
        return ["no file is for test: the run will report validation alone"]
    where = " and ".join(empty)
    note = f"no row is in {where}: nothing is measured there; give more rows, files for each split, or a column split"
    return [note] if empty else []


def _repeated(seen: Mapping[str, Column], choice: Choice) -> list[str]:
    """Pictures and the like that stand in several rows, which a split by what whole rows hold may part."""
    if "group" in choice.columns.values():
        return []
    media = [seen[name] for name, role in choice.columns.items() if role in ("vision", "audio", "video")]
    return [
        f"{each.name} holds {each.distinct:,} different ones in {len(each.cells):,} rows: one may be in training and "
        "in test; a column that is the same for all rows of one keeps them together, --columns '{COLUMN: group}'"
        for each in media
        if each.distinct < len(each.cells)
    ]


def _unanswered(seen: Mapping[str, Column], choice: Choice) -> list[str]:
    """Empty cells of tags, which may be meant otherwise than they are taken."""
    tags = choice.roles.targets.get("labels", ())
    return [
        f"{name} is empty in {seen[name].missing:,} rows, which count as not answered; where that means none of the "
        "names, write ';', or [] in JSON lines"
        for name in tags
        if len(tags) == 1 and seen[name].missing
    ]


def _split_by(choice: Choice, told: Collection[Split | None]) -> str:
    """What makes the split; `told` is what files, or a saved set, say of theirs, None for nothing."""
    if "split" in choice.columns.values():
        return "as its column says; what is not there is taken from training"
    if None not in told:
        return "as the files say" + ("" if "val" in told else "; val is taken from training")
    named = next((role for role in ("group", "id") if role in choice.columns.values()), None)
    by = f"of their {named}" if named else "of what rows hold"
    return f"by the hash {by}" + (", each class alike" if "label" in choice.columns.values() else "")


def _run(proposal: Proposal, nodes: Mapping[str, Any]) -> dict[str, Any]:
    keys = proposal.keys
    return {
        "task": proposal.groups["task"],
        "metric": proposal.metric,
        "core": proposal.groups["core"],
        "steps": keys["steps_per_epoch"] * keys["trainer"]["max_epochs"],
        "batch_size": keys["data"]["batch_size"],
        "lr": keys["optim"]["lr"],
        "lr_of": keys["optim"].get("lr_of", {}),
        "tokenizers": dict(nodes),
        "embedders": keys["embedder"],
    }


def _passing(found: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    """The keys by which rows are passed over that cannot be read; none where all can."""
    share = max(len(found["problems"]) / n_rows, len(found["unreadable"]) / max(found["opened"], 1))
    return {"on_error": "skip", "max_bad_fraction": round(min(2 * share + 0.01, 1.0), 3)} if share else {}


def _about(found: Mapping[str, Any], out: Path, name: str) -> str:
    lines = [f"omniformer train --config-dir {out} experiment={name}", f"{found['rows']:,} rows of {found['data']}."]
    told = in_words(found["trivial"])
    return "\n".join([*lines, *([f"A trivial answer scores {told}."] if told else [])])


def _name(path: str | Path, given: str | None) -> str:
    """The name of the experiment; not one of those that come along, which Hydra would take in its place, and not one
    that no head of a model can have, such as `train` or `items`.
    """
    shipped = {each.stem for each in (conf_dir() / "experiment").glob("*.yaml")}
    if given in shipped:
        raise ValueError(f"--name {given} is an experiment that comes along; choose another one, such as my_{given}")
    if given and not can_name_a_part(given):
        raise ValueError(f"--name {given} is a word that modules keep for themselves; choose one such as my_{given}")
    found = given or re.sub(r"\W+", "_", Path(path).resolve().name.partition(".")[0]).strip("_").lower() or "mine"
    return f"my_{found}" if found in shipped or not can_name_a_part(found) else found
