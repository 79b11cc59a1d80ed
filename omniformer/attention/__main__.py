"""`omniformer attention RUN INPUT...`: what a model looks at in a picture, sound, text or graph, drawn."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, add_device, command_parser

if TYPE_CHECKING:
    from omniformer.inspection.looks import Look


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws what a model looks at while it reads an input, or while it writes the answer to it: how much each patch,
    moment, word or node counts through all layers and in each, the map of every head, how widely heads look, which of
    them do nothing, and what modalities give each other.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    if not given.inputs and not given.index:
        parser.error("nothing to look at: give files, texts, or numbers of samples with --index")
    if given.head is not None and given.layer is None:
        parser.error("--head is one of a layer; give --layer too")
    if (kind := Path(given.out).suffix.lower()) not in (".html", ".png"):
        parser.error(f"--out is {given.out!r}; give a file that ends in .html or .png")
    with reported():
        from omniformer.pages.drawing import need_matplotlib

        need_matplotlib()  # before the rest is loaded, which takes seconds
        found = _looks(given)
        closer = None if given.layer is None else [each.at(given.layer, given.head) for each in found]
        from omniformer.attention.showing import picture, section, told
        from omniformer.files.durable import write_durably
        from omniformer.pages.page import html_page

        if kind == ".png":
            Path(given.out).write_bytes(picture(closer or found))
        else:
            sections = [section(each, by) for each, by in zip(found, closer or found, strict=True)]
            write_durably(Path(given.out), html_page("What the model looks at", given.run, sections))
        for each in found:
            print(each.id, *told(each), sep="\n  ")
        print(f"written: {given.out}")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("attention", description=main.__doc__)
    parser.add_argument("run", help="a run folder, or the model folder in it")
    parser.add_argument(
        "inputs", nargs="*", help="files (.png .wav .txt .json ...), folders or patterns of them, texts, SMILES"
    )
    parser.add_argument("--together", action="store_true", help="read all inputs as one, of several modalities")
    parser.add_argument("--out", default="attention.html", metavar="FILE", help=".html or .png (default: %(default)s)")
    parser.add_argument("--layer", type=int, help="draw the weights of one layer, from 1, head by head")
    parser.add_argument("--head", type=int, help="draw the weights of one head of that layer, from 1")
    parser.add_argument("--member", help="which task reads, in a model that has several for one modality")
    data = parser.add_argument_group("samples of the data that the run learned from")
    data.add_argument("--index", type=int, nargs="+", default=[], metavar="N", help="their numbers, from 0")
    data.add_argument("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    data.add_argument(
        "--data-root", metavar="FOLDER", help="where its data lie now (default: where they lay in training)"
    )
    add_device(parser)
    add_allow_targets(parser)
    return parser


def _looks(given: argparse.Namespace) -> "list[Look]":
    from omniformer.device import chosen
    from omniformer.folder import load
    from omniformer.inputs import typed
    from omniformer.inspection.looks import look

    predictor = load(given.run, allow_targets=given.allow_targets)
    predictor.model.to(chosen(given.device))
    words = [typed(word) for word in given.inputs]
    inputs = [words] if given.together and words else words
    found = look(predictor, inputs, member=given.member)
    if given.index:
        from omniformer.attention.from_data import looks_of

        found += looks_of(
            given.run,
            predictor,
            given.index,
            split=given.split,
            member=given.member,
            data_root=given.data_root,
            allow_targets=given.allow_targets,
        )
    return found


if __name__ == "__main__":
    main()
