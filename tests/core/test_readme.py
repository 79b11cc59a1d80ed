"""Every snippet of the core's README runs, one after the other as a reader would type them."""

import re
from pathlib import Path

import torch

README = Path(__file__).parents[2] / "omniformer" / "core" / "README.md"


def test_every_snippet_runs_and_the_first_equals_each_sample_alone(capsys):
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    names = {}
    torch.manual_seed(0)
    for i, snippet in enumerate(snippets):
        exec(compile(snippet, f"{README.name}, snippet {i + 1}", "exec"), names)
        if i == 0:
            x, core, y = names["x"], names["core"], names["y"]
            for row, length in enumerate((7, 4)):
                alone = core(x[row, :length], names["Layout"].from_lengths(length), names["Causal"]())
                torch.testing.assert_close(y[row, :length], alone, rtol=1e-5, atol=1e-6)
            assert not y[1, 4:].any()
    assert len(snippets) >= 6
    assert "■ · · ·\n■ ■ · ·\n· ■ ■ ·\n· · ■ ■" in capsys.readouterr().out
