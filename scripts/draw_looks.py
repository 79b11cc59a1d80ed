r"""Draws what several models look at into one picture: docs/pictures/looks.png.

    for modality in vision audio graph text; do python -m omniformer.train modality=$modality; done
    python scripts/draw_looks.py outputs/vision/latest:12 outputs/audio/latest:300 outputs/graph/latest:200 \
        "outputs/text/latest:The with statement is used to wrap" --out docs/pictures/looks.png

Behind the colon of a run stands the number of a test sample, or a text. Needs matplotlib: uv sync --extra plots.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from omniformer import folder
from omniformer.attention.from_data import looks_of
from omniformer.attention.showing import picture
from omniformer.config import reported
from omniformer.inspection.looks import look


def main(arguments: Sequence[str] | None = None) -> None:
    """Looks, and draws."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looks", nargs="+", metavar="RUN:SAMPLE", help="a run folder, and what its model looks at")
    parser.add_argument("--out", required=True, metavar="FILE", help="a .png file")
    given = parser.parse_args(arguments)
    with reported():
        found = []
        for run, _, sample in (each.partition(":") for each in given.looks):
            predictor = folder.load(run)
            found += looks_of(run, predictor, [int(sample)]) if sample.isdigit() else look(predictor, [sample])
        Path(given.out).write_bytes(picture(found))


if __name__ == "__main__":
    main()
