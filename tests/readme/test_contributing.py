"""What CONTRIBUTING.md says of adding: each thing is added here, with the files and lines it says."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer
from own import importable
from tiny_runs import numbers, run
from twins import ragged_ids, transformers, twin

import omniformer
from omniformer.config import allowing
from omniformer.core.attention.plan import KERNELS, lower
from omniformer.core.biases import ALiBi
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full
from omniformer.core.scores import SoftCap
from omniformer.core.transformer import Transformer
from omniformer.predictor import Member, Predictor
from omniformer.pretrained import FAMILIES, families
from omniformer.recipe import build_model
from omniformer.train import main as train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
TABLE = {what: (int(n), int(m)) for what, n, m in re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)}
ADDING = Path(__file__).parents[1] / "support" / "adding"
LISTED = {"a kernel of attention": "kernel", "a family of published models": "family"}  # in KERNELS, in FAMILIES
FILES = {
    "a head": "head",
    "a task": "task",
    "a data set": "data_set",
    "a modality": "modality",
    "a rule of attention": "rule",
} | LISTED
TINY = ["core.d_model=16", "core.n_layers=1", "core.n_heads=2", "callbacks.best=null"]
DROPOUT = {  # what a parameter of the head is added by
    "n_classes: Count)": "n_classes: Count, dropout: BelowOne = 0.0)",
    "the lowest first.\n": "the lowest first.\n        dropout: share of features set to zero in training.\n",
    "import Count\n": "import BelowOne, Count\n",
    "nn.Linear(d_model, 1)\n": "nn.Sequential(nn.Dropout(dropout), nn.Linear(d_model, 1))\n",
}


HEAD = (ADDING / "head" / "own_head.py").read_text()


def with_dropout():
    """The head with a parameter more."""
    text = HEAD
    for old, new in DROPOUT.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.fixture
def added():
    """Makes what is added importable, until the test ends."""
    with ExitStack() as stack:
        yield lambda *what: [stack.enter_context(importable(ADDING / each)) for each in what]


def trained(folder, what, *arguments):
    """A run of three steps with what is added; its folder."""
    return run(folder / "runs", "--config-dir", str(ADDING / what / "conf"), *TINY, *arguments)


@pytest.mark.parametrize("what", FILES)
def test_the_table_counts_the_files_and_lines_of_what_is_added_here(what):
    files = [path.read_text() for path in (ADDING / FILES[what]).rglob("*") if path.suffix in (".py", ".yaml")]
    listed = what in LISTED
    assert TABLE[what] == (len(files) + listed, sum(len(each.splitlines()) for each in files) + listed)


def test_a_parameter_is_its_annotation_its_description_and_its_use():
    changed = [line for line in with_dropout().splitlines() if line not in HEAD.splitlines()]
    assert TABLE["a parameter"] == (1, len(changed))


def test_the_table_counts_what_is_asked_for():
    assert TABLE.keys() == {*FILES, "a parameter"}
    assert TABLE["a head"][0] == 1 and TABLE["a modality"][0] <= 5


def model_of(rule=None):
    """A model of pictures with the head that is added, ready to be used; and how it is built."""
    torch.manual_seed(0)
    core = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2}
    patches = {"_target_": "omniformer.embedders.VectorEmbedder", "features": 16, "axes": 2}
    grades = {"_target_": "own_head.Grades", "n_classes": 3}
    made = {
        "core": core,
        "embedders": {"vision": {"node": patches, "facts": {"d_model": 16}}},
        "heads": {"grades": {"node": grades, "facts": {"d_model": 16}}},
        "rules": {} if rule is None else {"grades": rule},
    }
    with allowing(["own_head", "own_rule"]):
        model = build_model(made)
    member = Member(tokenizers={"vision": PatchTokenizer(patch_size=4, channels=1)}, labels=("bad", "fair", "good"))
    return Predictor(model, {"grades": member}), made


def test_a_head_is_added(added, tmp_path):
    added("head")
    predictor, made = model_of()
    picture = torch.arange(64, dtype=torch.uint8).view(1, 8, 8)
    (found,) = predictor.predict([picture])
    assert list(found.probabilities) == ["bad", "fair", "good"]
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert predictor.embed([picture]).shape == (1, 16)
    omniformer.save(tmp_path / "model", predictor, recipe=made, allow_targets=["own_head"])
    assert omniformer.load(tmp_path / "model", allow_targets=["own_head"]).predict([picture]) == [found]


def test_a_task_is_added(added, tmp_path):
    added("head", "task")
    output = trained(tmp_path, "task", "modality=vision", "task=grading", "allow_targets=[own_head,own_task]")
    assert 0 <= numbers(output)["test/grades_off"] <= 9


@pytest.mark.slow
def test_a_data_set_is_added(tmp_path):
    rows = [
        f"a {kind} {fruit} number {i},{kind}\n"
        for i in range(40)
        for kind, fruit in (("red", "apple"), ("ripe", "fig"))
    ]
    (tmp_path / "fruit.csv").write_text("said,meant\n" + "".join(rows))
    output = trained(
        tmp_path, "data_set", "modality=text", "task=classification", "data=fruit", f"data_root={tmp_path}"
    )
    assert omniformer.load(output).predict(["a red fig"])[0].label in ("red", "ripe")


def test_a_modality_is_added(added, tmp_path):
    added("modality")
    output = trained(tmp_path, "modality", "modality=points", "allow_targets=[own_modality]")
    assert 0 <= numbers(output)["test/accuracy"] <= 1


def test_a_family_is_added(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(ADDING / "family")])
    monkeypatch.setitem(FAMILIES, "olmo", ("own_family", "OLMo"))
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    others = {"intermediate_size": 40, "vocab_size": 29, "max_position_embeddings": 32}
    theirs = transformers.OlmoForCausalLM(transformers.OlmoConfig(**sizes, **others, pad_token_id=None))
    ids, mask = ragged_ids(29)
    twin(theirs, tmp_path, lambda out: out.logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_a_kernel_is_added(added, monkeypatch):
    added("kernel")
    from own_kernel import OneByOne

    monkeypatch.setitem(KERNELS, OneByOne.name, OneByOne)
    layout = Layout.from_lengths(3, 0, 5)
    q, k, v = (torch.randn(8, heads, 4, dtype=torch.float64) for heads in (4, 2, 2))
    options = {"bias": ALiBi(n_heads=4), "score": SoftCap(cap=2.0)}
    found, expected = (
        lower(Causal(), layout, kernel=name).attend(q, k, v, **options) for name in (OneByOne.name, "reference")
    )
    torch.testing.assert_close(found, expected)
    core = Transformer(d_model=16, n_layers=1, n_heads=2, kernel=OneByOne.name)
    x = torch.randn(8, 16)
    torch.testing.assert_close(core(x, layout), core(x, layout, plan=lower(Full(), layout)))


def test_a_rule_is_added(added):
    added("head", "rule")
    model = model_of({"_target_": "own_rule.Multiples", "step": 2})[0].model
    rule, layout = model.rule("grades"), Layout.from_lengths(4, 3)
    x = torch.randn(7, 16)
    before = model.core(x, layout, rule)
    x[1] = 9.0
    after = model.core(x, layout, rule)
    assert (before != after).any(-1).tolist() == [False, True, False, True, False, False, False]


def test_a_parameter_is_added(added, tmp_path, capsys):
    (tmp_path / "wide_head.py").write_text(with_dropout())
    added("task")
    task = ["--config-dir", str(ADDING / "task" / "conf"), "task=grading", "allow_targets=[wide_head,own_task]"]
    task.append("task.head._target_=wide_head.Grades")
    with importable(tmp_path):
        train([*task, "+task.head.dropout=0.5", "--cfg", "job"])
        assert "dropout: 0.5" in capsys.readouterr().out
        with pytest.raises(SystemExit):
            train([*task, "+task.head.dropout=1.5", "--cfg", "job"])
        assert "task.head.dropout: received 1.5, accepted: a number" in capsys.readouterr().err
