"""What the page about exporting promises: its commands are understood, and its examples run."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from exporting import CORE, shaken
from omniformer_tokenizers import ByteTokenizer

from omniformer.core.rules import Causal
from omniformer.embedders import IdEmbedder
from omniformer.export.__main__ import build_parser
from omniformer.export.write import export
from omniformer.generation import Greedy
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
CLASSIFY, WRITE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
TEXT = ByteTokenizer()


@pytest.mark.parametrize("line", re.findall(r"^    python -m omniformer\.export (.*)$", PAGE, flags=re.MULTILINE))
def test_every_command_is_understood(line):
    assert build_parser().parse_args(shlex.split(line)).out


def predictor(head, **options):
    model = OmniFormer(
        core=CORE(n_layers=1), embedders={"text": IdEmbedder(d_model=16, vocab_size=257)}, heads={"it": head}, **options
    )
    return Predictor(shaken(model), {"it": Member(tokenizers={"text": TEXT}, labels=("a", "b", "c"))})


@pytest.mark.slow
def test_the_classifying_example_gives_what_the_predictor_gives(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    ours = predictor(ClassificationHead(d_model=16, n_classes=3))
    export(ours, tmp_path / "topics", formats=["onnx"])
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(CLASSIFY, scope)
    expected = ours.predict(["a short text", "and one that is a little longer"])
    assert scope["labels"] == [each.label for each in expected]


@pytest.mark.slow
def test_the_writing_example_writes_what_the_writer_writes(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    ours = predictor(NextTokenHead(d_model=16, vocab_size=257), rules={"it": Causal()})
    export(ours, tmp_path / "prose", formats=["onnx"])
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(WRITE, scope)
    (answer,) = ours.generate(["The with"], strategy=Greedy(), max_new_tokens=20)[0]
    written = scope["written"][:-1] if scope["written"][-1] == TEXT.stop else scope["written"]
    assert torch.equal(torch.tensor(written), torch.tensor(list(answer.ids)[: len(written)]))
