"""The page on tasks runs."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def run(snippet):
    names = {}
    exec(compile(snippet, "docs/tasks.md", "exec"), names)
    return names


def test_every_snippet_of_the_page_runs(capsys):
    of_answers, of_vectors = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert run(of_answers)["weights"].shape == (10, 5)
    assert capsys.readouterr().out == "9\n"
    run(of_vectors)
    assert capsys.readouterr().out == "torch.Size([3, 32])\ntorch.Size([1, 2])\n"
