"""The command: what it writes, of files and of samples of the data, and what it says of what cannot be."""

import sys

import pytest
from tiny_runs import run
from webdriver import Browser

from omniformer.attention.__main__ import main as attention


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("attention"), "modality=graph")


@pytest.mark.slow
def test_a_file_and_a_sample_of_the_data_are_drawn(finished, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    graph = tmp_path / "path.json"
    graph.write_text('{"n_nodes": 3, "edges": [[0, 1], [1, 2]]}')
    page, picture = tmp_path / "look.html", tmp_path / "look.png"
    attention([str(finished), str(graph), "--index", "3", "--out", str(page), "--device", "cpu"])
    said, written = capsys.readouterr().out, page.read_text(encoding="utf-8")
    assert f"{graph}\n  graph says: " in said and f"written: {page}" in said
    assert written.count("<section") == 2 and "<script" not in written
    assert "://" not in written.replace("http://www.w3.org/", "")  # names of XML, which nobody fetches
    attention([str(finished), str(graph), "--layer", "2", "--head", "1", "--out", str(picture), "--device", "cpu"])
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_browser_shows_every_picture_of_a_page_and_asks_for_nothing(finished, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    graph, page = tmp_path / "path.json", tmp_path / "look.html"
    graph.write_text('{"n_nodes": 3, "edges": [[0, 1], [1, 2]]}')
    attention([str(finished), str(graph), "--index", "3", "--out", str(page), "--device", "cpu"])
    said = [line.strip() for line in capsys.readouterr().out.splitlines() if "says: " in line]
    with Browser(tmp_path) as browser:
        browser.open(page.as_uri())
        seen = browser.until("document.readyState === 'complete' && document.body.innerText")
        boxes = browser.run("return [...document.querySelectorAll('svg')].map((each) => each.getBoundingClientRect())")
        assert len(boxes) == 6  # of each sample: its nodes, the maps of all heads, what heads do
        assert all(box["width"] > 100 and box["height"] > 50 for box in boxes)
        root = "document.documentElement"
        assert browser.run(f"return {root}.scrollWidth - {root}.clientWidth") <= 0  # nothing stands out of the window
        assert len(said) == 2 and all(line in seen for line in [*said, str(graph)])
        browser.click("nav a:last-of-type")
        assert browser.run("return location.hash") != ""
        assert [each for each in browser.complaints() if each["level"] == "SEVERE"] == []
        assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--index", "9999"], "--index: received 9999, accepted 0 to "),
        (["--index", "0", "--member", "x"], "--member: received x, accepted graph"),
    ],
)
def test_samples_and_tasks_that_there_are_not_are_told(finished, options, message, capsys):
    pytest.importorskip("matplotlib")
    with pytest.raises(SystemExit):
        attention([str(finished), *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to look at"),
        (["a", "--head", "1"], "--head is one of a layer"),
        (["a", "--out", "look.pdf"], "--out is 'look.pdf'; give a file that ends in .html or .png"),
    ],
)
def test_options_that_do_not_go_together_are_told(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        attention([str(tmp_path), *options])
    assert message in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        attention([str(tmp_path), "a"])
    assert "pictures need matplotlib" in capsys.readouterr().err
