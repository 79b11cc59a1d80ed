"""Drawings inside a page."""

import sys

import pytest

from omniformer.config import ConfigError
from omniformer.pages.drawing import drawn


def labelled(figure):
    figure.subplots().set_title("<script> $\\frac$ 漢")


def test_text_in_a_drawing_is_text():
    svg = drawn(labelled, 2, 1)
    assert "&lt;script&gt; $\\frac$ 漢" in svg
    assert "<script>" not in svg


def test_a_drawing_takes_the_colour_of_the_page_and_names_no_place_to_fetch_from():
    svg = drawn(labelled, 2, 1)
    assert "currentColor" in svg and "#010203" not in svg
    assert svg.startswith("<svg")
    assert "<metadata>" not in svg


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install matplotlib"):
        drawn(labelled, 2, 1)
