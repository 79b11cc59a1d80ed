"""The page on tasks runs."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def test_the_snippet_of_the_page_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names = {}
    exec(compile(snippet, "docs/tasks.md", "exec"), names)
    assert capsys.readouterr().out == "9\n"
    assert names["weights"].shape == (10, 5)
