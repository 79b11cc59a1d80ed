"""Every snippet of the READMEs of the core runs, one after the other as a reader would type them."""

import re
from pathlib import Path

import torch

CORE = Path(__file__).parents[2] / "omniformer" / "core"


def run(readme):
    """The names that each snippet leaves behind it."""
    names = {}
    torch.manual_seed(0)
    for i, snippet in enumerate(re.findall(r"```python\n(.*?)```", readme.read_text(), flags=re.DOTALL)):
        exec(compile(snippet, f"{readme.name}, snippet {i + 1}", "exec"), names)
        yield names


def test_every_snippet_runs_and_the_first_equals_each_sample_alone(capsys):
    for n, names in enumerate(run(CORE / "README.md"), start=1):
        if n == 1:
            x, core, y = names["x"], names["core"], names["y"]
            for row, length in enumerate((7, 4)):
                alone = core(x[row, :length], names["Layout"].from_lengths(length), names["Causal"]())
                torch.testing.assert_close(y[row, :length], alone, rtol=1e-5, atol=1e-6)
            assert not y[1, 4:].any()
    assert n >= 6
    assert "■ · · ·\n■ ■ · ·\n· ■ ■ ·\n· · ■ ■" in capsys.readouterr().out


def test_the_variants_show_how_one_takes_the_place_of_a_part():
    (names,) = run(CORE / "variants" / "README.md")
    assert names["y"].shape == (7, 64)
