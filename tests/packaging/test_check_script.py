from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_check_script_runs_the_very_line_with_which_the_readme_runs_the_tests():
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in script if "pytest" in line]
    readme = [each.strip() for each in (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()]
    assert line in readme


def test_the_check_script_may_be_executed_and_stops_at_the_first_failure():
    path = REPOSITORY / ".ci" / "run"
    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


def test_libraries_and_pins_are_checked_before_the_tests_run():
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert script.index("check_environment.py") < script.index("pin_versions.py --check") < script.index("pytest")
