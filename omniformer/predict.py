"""`omniformer predict RUN INPUT...`: what a trained model says of files or texts."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniformer.config import ConfigError, reported
from omniformer.config.arguments import (
    add_allow_targets,
    add_device,
    add_weights,
    columns_in,
    command_parser,
    tell_unread,
)
from omniformer.garbage import unsearched

if TYPE_CHECKING:
    from omniformer.prediction import Prediction
    from omniformer.predictor import Predictor

_LINES = "lines:"
Refuse = Callable[[Exception], None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints class names with probabilities for images, sounds, texts and graphs, or numbers, or what was said; words
    for each [MASK] of a text; the answer to a question that stands in a text.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    _check(parser, given)
    with reported():
        columns = columns_in(given.columns)
        with unsearched():
            from omniformer.device import chosen

            device = chosen(given.device)  # before the rest is loaded, which takes seconds
            from omniformer.folder import load

        predictor = load(given.run, weights=given.weights, allow_targets=given.allow_targets)
        predictor.model.to(device)
        bad: list[str] = []
        first: list[Exception] = []

        def refused(error: Exception) -> None:
            first.extend([] if first else [error])
            bad.append(str(error))

        named, n = _named(given, predictor, columns, refused)
        outcomes = _outcomes(given, predictor)
        good = 0
        with ExitStack() as open_files:
            told: Callable[[Prediction], None] | None = None
            shown = given.out is not None or not sys.stdout.isatty()
            for _, said in _counted(outcomes(named), n, shown=shown):
                if isinstance(said, Exception):
                    refused(said)
                    continue
                told = told or open_files.enter_context(_teller(given))
                good += 1
                for prediction in said:
                    told(prediction)
            if bad and not good:
                raise first[0]
            if told is None:
                raise ValueError("there is no input: the tables hold no rows")
        if given.out:
            print(f"{good} input{'' if good == 1 else 's'} predicted; written: {given.out}", file=sys.stderr)
        if bad:
            tell_unread(bad)
            raise SystemExit(1)


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser(
        "predict",
        description=main.__doc__,
        epilog='A graph is a JSON file: {"n_nodes": 3, "edges": [[0, 1], [1, 2]]}.',
    )
    tables = "tables with the columns of training (.csv .tsv .jsonl .parquet ...), lines:FILE"
    parser.add_argument("run", help="a run folder, or the model folder in it")
    parser.add_argument(
        "inputs",
        nargs="+",
        help=f"files (.png .jpg .wav .flac .mp3 .ogg .txt .json .npy), folders or patterns of them, {tables}, or texts "
        "and molecules in SMILES",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    parser.add_argument("--out", metavar="FILE", help="write a flat table: .csv, or .jsonl with all probabilities")
    parser.add_argument(
        "--top", type=int, default=3, help="how many classes or words to print, most probable first (default: 3)"
    )
    parser.add_argument(
        "--pairs", action="store_true", help="read texts two by two: a question and the text that it is about"
    )
    parser.add_argument(
        "--labels", nargs="+", metavar="NAME", help="classes that a contrastive model tells by their names, untrained"
    )
    parser.add_argument(
        "--template", action="append", metavar="TEXT", help="a text for such names, as in 'a photo of a {}'; or several"
    )
    parser.add_argument(
        "--columns",
        metavar="YAML",
        help="what columns of a table are for, where the run does not say: '{photo: vision}'",
    )
    parser.add_argument(
        "--outside", action="store_true", help="let a table of your own name files anywhere on this machine"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="inputs in one pass (default: 64)")
    parser.add_argument("--member", help="which task answers, in a model that has several for one modality")
    add_device(parser)
    add_weights(parser)
    add_allow_targets(parser)
    return parser


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Refuses numbers out of range, and options that would have no effect beside each other."""
    if given.top < 1:
        parser.error(f"--top is {given.top}; give at least 1")
    if given.batch_size < 1:
        parser.error(f"--batch-size is {given.batch_size}; give at least 1")
    if given.pairs and len(given.inputs) % 2:
        parser.error(f"--pairs reads texts two by two; received {len(given.inputs)}")
    if given.template and not given.labels:
        parser.error("--template is for the names of --labels; give both")
    if given.json and given.out:
        parser.error("--json prints what --out FILE.jsonl writes; give one of the two")


def _outcomes(given: argparse.Namespace, predictor: "Predictor") -> Callable[..., Iterator[tuple[str, Any]]]:
    """Who says something of inputs: the task that fits each, or one that compares them with the names of classes."""
    if not given.labels:
        return partial(predictor.outcomes, member=given.member, top=given.top, batch_size=given.batch_size)
    from omniformer.zero_shot import ZeroShot

    told = ZeroShot(predictor, given.labels, templates=given.template or ("{}",), member=given.member)
    return partial(told.outcomes, batch_size=given.batch_size)


def _named(
    given: argparse.Namespace, predictor: "Predictor", columns: Mapping[str, str | None], refused: Refuse
) -> tuple[Iterator[tuple[str, Any]], int]:
    """All inputs with their names, read as they are asked for, and how many there are."""
    from omniformer.inputs import typed

    if given.pairs:
        pairs = list(zip(given.inputs[::2], given.inputs[1::2], strict=True))
        return iter(predictor.named(pairs)), len(pairs)
    parts: list[Iterable[tuple[str, Any]]] = []
    n = 0
    for i, word in enumerate(given.inputs):
        try:
            table = _table(word, given, predictor, columns)
            found = _lines(word) or predictor.named([typed(word)]) if table is None else []
        except ConfigError:
            raise
        except (ValueError, OSError) as error:
            refused(error)
            continue
        if table is not None:
            parts.append(table.each(refused))
        else:
            parts.append([(f"input {i}" if raw is word else name, raw) for name, raw in found])
        n += len(found) if table is None else len(table)
    return chain.from_iterable(parts), n


def _lines(word: str) -> list[tuple[str, Any]] | None:
    """The lines of a file as texts, or molecules, where `lines:FILE` asks for them."""
    file = Path(word.removeprefix(_LINES))
    if not word.startswith(_LINES) or not file.is_file():
        return None
    from omniformer.data.table.lines import LineRows

    return [(f"{file}, line {i}", line) for i, line in enumerate(LineRows(file).lines, 1)]


def _table(word: str, given: argparse.Namespace, predictor: "Predictor", columns: Mapping[str, str | None]) -> Any:
    """The rows of a table; None for what is none, or is a file that a tokenizer of the model reads.

    Raises:
        ConfigError: nobody says what its columns are for.
    """
    from omniformer.data.table.given import SUFFIXES, GivenRows
    from omniformer.data.table.roles import alone

    name = word.partition("::")[0].lower()
    own = [each for member in predictor.members.values() for one in member.tokenizers.values() for each in one.suffixes]
    if not name.endswith((*SUFFIXES, ".npz")) or any(each.isspace() for each in name) or name.endswith(tuple(own)):
        return None
    told = _told(given, columns)
    named = {column: role for column, role in columns.items() if role is not None}
    other = {role for role in named.values() if alone(role)}  # which another column had in training
    kept = {name: role for name, role in told.pop("columns", {}).items() if name not in columns and role not in other}
    if "id" in named.values():
        kept = {column: role for column, role in kept.items() if role != "id"}
    if not kept | named:
        if _of_one_graph(given):
            graph = '{"n_nodes": 3, "edges": [[0, 1], [1, 2]], "node_features": [[0.5], [1.0], [2.0]]}'
            raise ConfigError(
                [f"{given.run} learned from the tables of one graph; give another graph as a file of JSON, {graph}"]
            )
        untold = f"{word} is a table, and {given.run} learned from none"
        raise ConfigError([f"{untold}; say what its columns are for with --columns '{{photo: vision}}'"])
    ids = [column for column, role in kept.items() if role == "id"]  # new rows may have no names
    return GivenRows(word, columns=kept | named, may_lack=ids, outside=given.outside, **told)


def _told(given: argparse.Namespace, columns: Mapping[str, str | None]) -> dict[str, Any]:
    """What the run says of its table, where it is one of a table."""
    from omniformer.data.table.given import told_of_table

    found = {name: told_of_table(data) for name, data in _data(given).items()}
    tables = {name: told for name, told in found.items() if told is not None and given.member in (None, name)}
    if len(tables) > 1 and not columns:
        raise ConfigError(
            [f"several tasks of {given.run} learned from tables, {', '.join(tables)}; choose one with --member"]
        )
    return dict(next(iter(tables.values()))) if len(tables) == 1 else {}


def _of_one_graph(given: argparse.Namespace) -> bool:
    """Whether the run learned from tables of nodes and edges."""
    return any(str(data.get("source", {}).get("_target_")).endswith("GraphTables") for data in _data(given).values())


def _data(given: argparse.Namespace) -> dict[str, Mapping[str, Any]]:
    """The description of the data of each task; none where there is a model alone."""
    from omniformer.recipe import members
    from omniformer.run_folder import read_run

    run = Path(given.run)
    run = run.parent if not (run / "config.yaml").is_file() and run.name == "model" else run
    if not (run / "config.yaml").is_file():
        return {}
    return {name: member["data"] for name, member in members(read_run(run)[1]).items()}


def _counted(outcomes: Iterable[Any], n: int, *, shown: bool) -> Iterator[Any]:
    """The same with a bar on stderr, where that is a terminal and nothing else is printed there."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        "predicting", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True,
        disable=not (shown and console.is_terminal),
    ) as bar:  # fmt: skip
        yield from bar.track(outcomes, total=n)


@contextmanager
def _teller(given: argparse.Namespace) -> Iterator[Callable[["Prediction"], None]]:
    """Who tells each prediction: a file, JSON lines, a table on a terminal, or plain lines in a pipe."""
    if given.out:
        from omniformer.prediction_table import PredictionFile

        with PredictionFile(given.out, top=given.top) as file:
            yield file.add
    elif given.json:
        yield lambda prediction: print(json.dumps(prediction.to_dict()))
    elif not sys.stdout.isatty():
        print("input", "task", "prediction", sep="\t")
        yield lambda prediction: print(*map(_on_a_line, _cells(prediction, given.top)), sep="\t")
    else:
        rows: list[tuple[str, str, str]] = []
        yield lambda prediction: rows.append(_cells(prediction, given.top))
        _show(rows)


def _show(rows: Sequence[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("input", "task", "prediction")
    for row in rows:
        # As plain text: square brackets in it would be read as styles.
        table.add_row(*map(partial(Text, overflow="fold"), row))
    Console().print(table)


def _on_a_line(cell: str) -> str:
    """A cell without what would end it or its line."""
    return " ".join(cell.split()) if any(sign in cell for sign in "\t\r\n") else cell


def _cells(prediction: "Prediction", top: int) -> tuple[str, str, str]:
    return _input(prediction), prediction.member, _said(prediction, top)


def _input(prediction: "Prediction") -> str:
    """What a prediction is of: an input, or a token of it, with its text where that is known."""
    if prediction.token is None:
        return prediction.input
    return f"{prediction.input} [{prediction.token}] {prediction.text or ''}".rstrip()


def _said(prediction: "Prediction", top: int) -> str:
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:top]
    if ranked:
        return "  ".join(f"{label} {probability:.3f}" for label, probability in ranked)
    if prediction.span is not None:
        text = "tokens {} to {}".format(*prediction.span) if prediction.text is None else prediction.text
        return f"{text} {prediction.score:.3f}"
    return prediction.text or "  ".join(f"{value:.7g}" for value in prediction.values)


if __name__ == "__main__":
    main()
