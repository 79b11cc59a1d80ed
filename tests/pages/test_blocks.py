"""Blocks of pages: what they are told is text, in HTML and in Markdown."""

import html

import pytest

from omniformer.pages.blocks import Card, Cards, Command, Marked, Picture, Table, Words

HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "block",
    [
        Words(HOSTILE),
        Command(HOSTILE),
        Table([HOSTILE], [[HOSTILE]], HOSTILE),
        Picture("", HOSTILE),
        Cards([Card(HOSTILE, "", [HOSTILE])]),
    ],
    ids=lambda block: type(block).__name__,
)
def test_what_a_block_is_told_is_text(block):
    assert "<script>" not in block.html()
    assert html.escape(HOSTILE) in block.html()
    lines = [line for line in block.markdown().splitlines() if not line.startswith("    ")]  # code shows tags as text
    assert not any("<script>" in line.replace("\\<", "") for line in lines)


def test_numbers_stand_right_and_words_left():
    table = Table(["class", "F1"], [["a", "0.5"], ["b", "1,000"]]).html()
    assert "<td>a</td><td class=n>0.5</td>" in table


def test_a_table_of_markdown_keeps_its_columns_whatever_is_in_its_cells():
    rows = Table(["a", "b"], [["x|y", "two\nlines"]]).markdown().splitlines()
    assert rows[-1] == "| x\\|y | two lines |"


def test_a_table_without_rows_has_its_header():
    assert "<th>a</th>" in Table(["a"], []).html()


def test_tokens_are_marked_by_their_share_of_the_strongest_and_are_text():
    words = Marked(["<b>", "film"], [0.2, 0.1], "marked by: all layers")
    assert '<mark style="--share:100%" title="0.2000">&lt;b&gt;</mark> <mark style="--share:50%"' in words.html()
    assert words.markdown() == "marked by: all layers\n\n**\\<b\\>** film"
    assert "</mark><mark" in Marked(["a", "b"], [0.0, 0.0]).html()  # letters stand beside each other
