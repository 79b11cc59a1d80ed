import re
from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer

import omniformer
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.generate import build_parser
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor

PAGE = (Path(__file__).parents[2] / "docs" / "generation.md").read_text(encoding="utf-8")


def test_the_snippet_of_the_page_runs(monkeypatch, capsys):
    torch.manual_seed(0)
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2),
        embedders={"text": IdEmbedder(d_model=16, vocab_size=257)},
        heads={"prose": NextTokenHead(d_model=16, vocab_size=257)},
        rules={"prose": Causal()},
    )
    predictor = Predictor(model, {"prose": Member(tokenizers={"text": ByteTokenizer()}, max_seq_len=32)})
    monkeypatch.setattr(omniformer, "load", lambda path: predictor)
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names = {}
    exec(compile(snippet, "docs/generation.md", "exec"), names)
    assert [len(row) for row in names["answers"]] == [2, 2]
    assert len(capsys.readouterr().out) > 10


@pytest.mark.parametrize("line", re.findall(r"^    python -m omniformer\.generate (.*)$", PAGE, flags=re.MULTILINE))
def test_the_commands_of_the_page_are_understood(line):
    import shlex

    given = build_parser().parse_intermixed_args(shlex.split(line))
    assert given.run.startswith("outputs/")


def test_experiments_that_the_page_names_exist():
    conf = Path(__file__).parents[2] / "conf" / "experiment"
    named = re.findall(r"experiment=(\w+)", PAGE)
    assert named
    assert [name for name in named if not (conf / f"{name}.yaml").is_file()] == []
