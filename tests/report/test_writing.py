"""Reports of runs: written at the end of a run and afterwards, never in the way of it."""

import json
import logging
import re
import shutil
import sys

import pytest
import yaml
from tiny_runs import run
from webdriver import Browser

from omniformer.report import writing
from omniformer.report.__main__ import main as report


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("report"), "modality=vision", "report=true", "logger=csv")


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_a_run_ends_with_its_report(finished):
    page, told = ((finished / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    for title in (
        "What was trained",
        "Results",
        "Predictions",
        "Hardest samples",
        "Where the model looked",
        "Time and memory",
    ):
        assert f"<h2>{title}</h2>" in page and f"## {title}" in told
    assert "omniformer train debug=fast logger=none" in told
    assert "| vision | Classification | Digits | vision | 1,258 | 180 | 359 | 10 |" in told
    assert "accuracy of always" in told
    assert page.count('<div class="card') == 12 and "data:image/png;base64," in page
    assert page.count(" tokens: how much each counts") == 2
    for sign in ("http://", "https://"):
        assert sign not in page.replace("http://www.w3.org/", "")  # names of XML, which nobody fetches


def test_a_report_can_be_written_again_without_the_model_and_its_names_are_text(copied, capsys):
    row = {"split": "test", "member": "vision", "id": "<script>x", "target": "<script>", "prediction": "b"}
    (copied / "predictions.jsonl").write_text(json.dumps(row | {"scores": {"b": 0.9, "<script>": 0.1}}) + "\n")
    config = yaml.safe_load((copied / "config.yaml").read_text()) | {"name": "<script>name"}
    (copied / "config.yaml").write_text(f"# omniformer train '<script>'\n{yaml.safe_dump(config)}")
    numbers = json.loads((copied / "metrics.json").read_text()) | {"test/<script>": 0.5}
    (copied / "metrics.json").write_text(json.dumps(numbers))
    shutil.rmtree(copied / "model")
    report([str(copied)])
    page, told = ((copied / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "<script" not in page
    for name in ("&lt;script&gt;x", "&lt;script&gt;name: report of a run", "train &#x27;&lt;script&gt;&#x27;"):
        assert name in page
    assert "# \\<script\\>name: report of a run" in told
    assert "<script" not in re.sub(r"^    .*|\\<", "", told, flags=re.MULTILINE)  # commands are code
    assert "The run has no finished model" in page
    assert "report.html" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", [380, 1100])
def test_a_browser_shows_a_report_whole_and_asks_for_nothing(finished, tmp_path, width):
    with Browser(tmp_path, f"--window-size={width},800") as browser:
        browser.open((finished / "report.html").as_uri())
        browser.until("document.readyState === 'complete'")
        boxes = browser.run(
            "return [...document.querySelectorAll('svg, img')].map((each) => each.getBoundingClientRect())"
        )
        assert len(boxes) > 12 and all(box["width"] > 50 and box["height"] > 30 for box in boxes)
        root = "document.documentElement"
        assert browser.run(f"return {root}.scrollWidth - {root}.clientWidth") <= 0  # nothing stands out of the window
        assert [each for each in browser.complaints() if each["level"] == "SEVERE"] == []
        assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []


def test_a_damaged_line_is_named(copied, capsys):
    with (copied / "predictions.jsonl").open("a") as file:
        file.write("{\n")
    with pytest.raises(SystemExit):
        report([str(copied)])
    assert "predictions.jsonl, line" in capsys.readouterr().err


def test_a_report_that_fails_is_told_and_the_run_stays_good(copied, caplog, monkeypatch):
    monkeypatch.setattr(writing, "collected", lambda made_of: 1 / 0)
    with caplog.at_level(logging.WARNING):
        writing.report_finished(copied, None, None)
    assert "no report.html: ZeroDivisionError" in caplog.text


def test_without_matplotlib_a_run_says_what_to_install_and_a_command_fails(copied, caplog, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        writing.report_finished(copied, None, None)
    assert "pip install matplotlib" in caplog.text
    with pytest.raises(SystemExit):
        report([str(copied)])
    assert "pictures need matplotlib" in capsys.readouterr().err
