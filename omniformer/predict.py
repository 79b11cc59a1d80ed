"""`omniformer predict RUN INPUT...`: what a trained model says of files or texts."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, add_device, add_weights, command_parser, tell_unread

if TYPE_CHECKING:
    from omniformer.prediction import Prediction


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints class names with probabilities for images, sounds, texts and graphs, or numbers, or what was said; words
    for each [MASK] of a text; the answer to a question that stands in a text.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    if given.top < 1:
        parser.error(f"--top is {given.top}; give at least 1")
    if given.pairs and len(given.inputs) % 2:
        parser.error(f"--pairs reads texts two by two; received {len(given.inputs)}")
    with reported():
        from omniformer.device import chosen

        device = chosen(given.device)  # before the rest is loaded, which takes seconds
        from omniformer.folder import load
        from omniformer.inputs import typed

        predictor = load(given.run, weights=given.weights, allow_targets=given.allow_targets)
        predictor.model.to(device)
        pairs = zip(given.inputs[::2], given.inputs[1::2], strict=False)
        inputs = list(pairs) if given.pairs else list(map(typed, given.inputs))
        bad: list[Exception] = []
        predictions = predictor.predict(inputs, member=given.member, top=given.top, refused=bad.append)
        if bad and not predictions:
            raise bad[0]
        if given.json:
            sys.stdout.writelines(json.dumps(prediction.to_dict()) + "\n" for prediction in predictions)
        else:
            _table(predictions, given.top)
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
    parser.add_argument("run", help="a run folder, or the model folder in it")
    parser.add_argument(
        "inputs", nargs="+", help="files (.png .jpg .wav .flac .mp3 .ogg .txt .json), folders of them, or texts"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    parser.add_argument(
        "--top", type=int, default=3, help="how many classes or words to print, most probable first (default: 3)"
    )
    parser.add_argument(
        "--pairs", action="store_true", help="read texts two by two: a question and the text that it is about"
    )
    parser.add_argument("--member", help="which task answers, in a model that has several for one modality")
    add_device(parser)
    add_weights(parser)
    add_allow_targets(parser)
    return parser


def _table(predictions: Sequence["Prediction"], top: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("input", "task", "prediction")
    for prediction in predictions:
        # As plain text: square brackets in it would be read as styles.
        table.add_row(Text(_input(prediction)), prediction.member, Text(_said(prediction, top)))
    Console().print(table)


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
    return prediction.text or "  ".join(f"{value:.4g}" for value in prediction.values)


if __name__ == "__main__":
    main()
