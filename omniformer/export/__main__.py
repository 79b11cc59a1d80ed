"""`omniformer export RUN --out FOLDER`: a trained model as files that run without this project."""

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, command_parser

if TYPE_CHECKING:
    from omniformer.export.entrance import Port
    from omniformer.export.write import Written

FORMATS = ("pt2", "onnx")


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a model as torch.export and ONNX programs over padded tensors, and compares them with the model."""
    given = build_parser().parse_args(arguments)
    with reported():
        from omniformer.allocator import keep_memory
        from omniformer.export.write import export
        from omniformer.folder import load

        keep_memory()  # the model runs on the CPU, to be compared with each program

        predictor = load(given.run, allow_targets=given.allow_targets)
        predictor.model.float()
        formats = given.format or FORMATS
        _tell(export(predictor, given.out, member=given.member, formats=formats, raw=given.raw))


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser(
        "export",
        description=main.__doc__,
        epilog="Classifiers and other single passes become model.*; models that compare modalities become one program "
        "for each; what writes becomes decoder.*, one step of it, beside encoder.* for what it is given. "
        "docs/export.md says how to feed them.",
    )
    parser.add_argument("run", help="a run folder, the model folder in it, or the folder of a published model")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument(
        "--format", action="append", choices=FORMATS, help="one of the two formats only (default: both)"
    )
    parser.add_argument(
        "--raw",
        choices=("uint8", "float32"),
        help="programs take pictures (0..255, or 0..1) or waveforms (float32) in the place of tokens",
    )
    parser.add_argument("--member", help="which task, in a model that has several")
    add_allow_targets(parser)
    return parser


def _tell(written: "Sequence[Written]") -> None:
    """Prints what was written."""
    for file in written:
        difference = (
            "not compared with the model" if file.difference is None else f"{file.difference:.1e} from the model"
        )
        print(f"{file.path}  {file.size / 2**20:.1f} MB  {difference}")
        for word, ports in (("in ", file.inputs), ("out", file.outputs)):
            print("\n".join(f"  {word}  {line}" for line in _lines(ports)))
    if any(file.difference is None for file in written):
        print("onnxruntime is not installed: install it to compare what ONNX files say with what the model says")


def _lines(ports: "Sequence[Port]") -> list[str]:
    """Tensors, those of all layers as one."""
    shapes: dict[str, str] = {}
    for port in ports:
        shapes[re.sub(r"\.\d+\.(key|value)$", ".*.\\1", port.name)] = ", ".join(map(str, port.shape))
    return [f"{name} [{shape}]" for name, shape in shapes.items()]


if __name__ == "__main__":
    main()
