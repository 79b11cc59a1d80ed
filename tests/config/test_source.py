import subprocess
import sys

import pytest

from omniformer.config.source import find


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("lightning.Trainer", "lightning.pytorch.trainer.trainer.Trainer"),
        ("torch.optim.AdamW", "torch.optim.adamw.AdamW"),
        ("torchmetrics.classification.MulticlassAccuracy", "torchmetrics.classification.accuracy.MulticlassAccuracy"),
        ("omniformer_tokenizers.PatchTokenizer", "omniformer_tokenizers.vision.patches.PatchTokenizer"),
        (
            "omniformer_tokenizers.Tokenizer.from_pretrained",
            "omniformer_tokenizers.tokenizer.Tokenizer.from_pretrained",
        ),
    ],
)
def test_a_name_is_followed_to_the_module_that_defines_it(path, where):
    assert find(path).path == where


@pytest.mark.parametrize(
    "path", ["lightning.Trainer", "torch.optim.SGD", "torch.nn.Linear", "omniformer_tokenizers.BPETokenizer"]
)
def test_the_place_read_from_source_is_the_one_python_reports(path):
    module, name = path.rsplit(".", 1)
    found = getattr(__import__(module, fromlist=[name]), name)
    assert find(path).path == f"{found.__module__}.{found.__qualname__}"


def test_finding_imports_nothing(tmp_path):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\nclass Net:\n    pass\n")
    code = (
        "import sys; from omniformer.config.source import find\n"
        "print(find('trap.Net').path, find('torch.optim.AdamW').path)\n"
        "assert not {'trap', 'torch', 'lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["trap.Net", "torch.optim.adamw.AdamW"]


def _package(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_aliases_stars_branches_and_namespace_folders_are_followed(tmp_path, monkeypatch):
    _package(
        tmp_path,
        {
            "winding/__init__.py": "from .inner import *\nfrom . import inner as within\nOther = within.Thing\n",
            "winding/inner.py": (
                "try:\n    from nowhere import Thing\nexcept ImportError:\n    Thing = None\n"
                "if True:\n    class Thing:\n        pass\nelse:\n    def Thing(): ...\n"
            ),
            "winding/folder/deep.py": "from ..inner import Thing as Renamed\nfrom winding import Loop\nLoop = Loop\n",
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for path in ("winding.Thing", "winding.Other", "winding.within.Thing", "winding.folder.deep.Renamed"):
        assert find(path).path == "winding.inner.Thing"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("Trainer", "not a dotted path"),
        ("lightning..Trainer", "not a dotted path"),
        ("torch.optim.AdamW.__init__", "private name '__init__'"),
        ("no_such_package_here.Net", "no package 'no_such_package_here'"),
        ("lightning.Trianer", "did you mean 'Trainer'"),
        ("torch.optim", "neither a class nor a function"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_apart(path, message):
    with pytest.raises(LookupError, match=message):
        find(path)


def test_names_that_go_round_in_circles_lead_nowhere(tmp_path, monkeypatch):
    _package(tmp_path, {"circle_a.py": "from circle_b import X\n", "circle_b.py": "from circle_a import X\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LookupError):
        find("circle_a.X")


def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path, monkeypatch):
    _package(tmp_path, {"broken_one.py": "class Net:\n    def\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LookupError, match=r"broken_one\.py cannot be read: .*line 2"):
        find("broken_one.Net")
