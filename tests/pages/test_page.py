"""Pages as one file, looked at in a browser where there is one."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from omniformer.pages.blocks import Card, Cards, Marked, Picture, Section, Table, Words
from omniformer.pages.contents import shown
from omniformer.pages.drawing import drawn
from omniformer.pages.page import html_page, markdown_page
from omniformer.report.charts import curves, matrix

SECTIONS = [Section("One & two", [Words("words")]), Section("Three", [Table(["a"], [["1"]])])]


def test_a_page_has_its_sections_and_leads_to_them():
    page = html_page("t<i>tle", "lead", SECTIONS)
    assert '<a href="#one-two">One &amp; two</a>' in page
    assert '<section id="one-two">' in page
    assert "<title>t&lt;i&gt;tle</title>" in page


def test_a_page_asks_nobody_for_anything():
    page = html_page("a", "b", SECTIONS)
    for sign in ("http://", "https://", "src=", "@import", "url("):
        assert sign not in page


def test_markdown_has_the_same_words_and_names_what_is_drawn():
    told = markdown_page("title", "lead", [*SECTIONS, Section("Four", [Picture("<svg/>", "a curve")])])
    assert "## One & two\n\nwords" in told
    assert "(a curve: drawn in the page for browsers)" in told
    assert "<svg" not in told


STRANGE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><iframe src=//x>",
    "--><b onclick=x>",
    "[x](javascript:alert(1))",
]


class Read(HTMLParser):
    """The tags of a page, and its attributes with their values."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {(name, value) for name, value in attributes if name not in ("d", "style", "transform")}


@pytest.mark.quick(1)
def test_names_of_strangers_add_no_tag_and_no_attribute_to_a_page_and_are_text_in_markdown():
    def pages(names):
        title, *others = names
        lines = {name: {0: 1.0, 1: 2.0} for name in names}
        cards = [Card(name, shown({name: name, "text": name, "graph": name}), [name]) for name in names]
        blocks = [Table(names, [names], title), Marked(names, [0.5] * len(names), title), Cards(cards)]
        blocks += [Picture(curves(lines), title), Picture(matrix([[1] * len(names)] * len(names), names), title)]
        made = title, title, [Section(name, blocks) for name in others]
        return html_page(*made), markdown_page(*made)

    strange, told = pages(STRANGE)
    plain, _ = pages([f"name {i}" for i in range(len(STRANGE))])
    found, expected = Read(strange), Read(plain)
    assert found.tags == expected.tags
    assert {name for name, _ in found.attributes} == {name for name, _ in expected.attributes}
    addresses = {value for name, value in found.attributes if name in ("href", "src", "xlink:href")}
    assert all(each.startswith(("#", "data:,", "data:image/png")) for each in addresses)
    assert not re.search(r"(?<!\\)[<\[]", told)


@pytest.mark.slow
def test_a_browser_shows_a_page_without_an_error_and_asks_for_nothing(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser: chromium or google-chrome")
    import torch

    contents = {
        "audio": (torch.randn(4000) * 0.1, 8000),
        "vision": torch.rand(3, 8, 8),
        "text": "<script>bad()</script>",
    }
    svg = drawn(lambda figure: figure.subplots().plot([1, 2], label="<b>$x$"), 3, 2)
    page = tmp_path / "page.html"
    page.write_text(
        html_page(
            "<script>bad()</script>",
            "x",
            [Section("a", [Picture(svg, "c"), Marked(["<b>", "x"], [1.0, 0.2]), Cards([Card("d", shown(contents))])])],
        )
    )
    log = tmp_path / "net.json"
    done = subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
         f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert "</svg>" in done.stdout and "<audio" in done.stdout
    assert "CONSOLE" not in done.stderr
    asked = [line for line in log.read_text(errors="replace").splitlines() if '"url":"http' in line]
    assert not [line for line in asked if "google" not in line and "gvt1" not in line]  # the browser's own errands
