"""Charts of a report: what is written on them can be read."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from omniformer.pages.page import html_page
from omniformer.report.charts import matrix

pytest.importorskip("matplotlib")


def luminance(colour):
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def of_page(name):
    """A colour of the page in light and in dark, each from 0 to 1."""
    found = re.findall(rf"--{name}: #(\w{{6}})", html_page("a", "b", []))
    return [[int(each[i : i + 2], 16) / 255 for i in (0, 2, 4)] for each in found]


def test_counts_of_a_confusion_matrix_are_read_on_their_cells_in_light_and_in_dark():
    drawn = matrix([[40, 0], [3, 17]], ["a", "b"])
    assert all(f">{count}</text>" in drawn for count in (40, 3, 17))
    picture = re.search(r"data:image/png;base64,\s*([^\"]+)\"", drawn)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture[1]))).convert("RGBA")) / 255
    cells = np.unique(pixels.reshape(-1, 4), axis=0)
    assert len(cells) >= 4
    papers, inks = of_page("paper"), of_page("ink")
    assert len(papers) == len(inks) == 2
    for paper, ink in zip(papers, inks, strict=True):
        for *colour, opaque in cells:
            shown = opaque * np.array(colour) + (1 - opaque) * np.array(paper)
            dark, light = sorted((luminance(shown), luminance(ink)))
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, text of this size
