"""What the tests said on other versions becomes a row."""

import argparse
import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module("check_compatibility")
    for name in ("check_compatibility", "pin_versions"):
        sys.modules.pop(name, None)


def test_a_report_is_counted_and_failures_are_named_in_the_row(script):
    outcome = script.read(
        '<testsuites><testsuite><testcase classname="a" name="b"><failure/></testcase><testcase/>'
        "<testcase><skipped/></testcase><testcase/></testsuite></testsuites>"
    )
    outcome.versions = {"torch": "2.14.0"}
    row = script.row("3.12", "2.14", outcome)
    assert row == "| 3.12 | 2.14 | 2.14.0 |  |  |  |  | 2 | 1 | 1 | 0 | a::b |"
    assert row.count("|") == script.HEAD.count("|")


def test_a_set_that_was_not_run_says_why(script):
    row = script.row("3.14", "newest", script.Outcome(error=script.reason("first\n\nno interpreter | here\n")))
    assert row.endswith("| not run: no interpreter / here |")
    assert row.count("|") == script.HEAD.count("|")


@pytest.mark.parametrize("text", ["3.12", "3.12:oldest", "3.12:"])
def test_what_is_no_set_is_refused(script, text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no set"):
        script.named(text)


def test_a_copy_has_the_ranges_without_the_pins(script, tmp_path):
    script.copied(tmp_path, "2.14")
    settings = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert [str(pin) for pin in script.pin_versions.pinned(settings)] == ["torch==2.14.*"]
    assert (tmp_path / "tokenizers" / "pyproject.toml").is_file()
    assert not (tmp_path / ".venv").exists()
