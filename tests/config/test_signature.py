import dataclasses
import inspect

import pytest

from omniformer.config.signature import UNKNOWN, signature

TARGETS = [
    "lightning.Trainer",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.callbacks.RichProgressBar",
    "lightning.pytorch.loggers.CSVLogger",
    "torch.optim.AdamW",
    "torch.optim.SGD",
    "torch.optim.lr_scheduler.LambdaLR",
    "torch.nn.Linear",
    "omniformer.batch.Sample",
    "omniformer.batch.collate",
]


@pytest.mark.parametrize("target", TARGETS)
def test_names_and_defaults_read_from_source_are_those_of_the_imported_object(target):
    module, name = target.rsplit(".", 1)
    real = inspect.signature(getattr(__import__(module, fromlist=[name]), name)).parameters
    read = signature(target)
    assert list(read.parameters) == list(real)
    assert not read.open
    for name, parameter in read.parameters.items():
        assert parameter.required == (real[name].default is inspect.Parameter.empty)
        if parameter.default is not UNKNOWN:
            assert parameter.default == real[name].default


@pytest.fixture
def written(tmp_path, monkeypatch):
    def write(text):
        name = f"written_{abs(hash(text))}"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return write


def test_keywords_handed_on_are_those_of_the_class_that_receives_them(written):
    module = written(
        "class Base:\n    def __init__(self, a: int, b: int = 2, *, c: str = 'x'): ...\n"
        "class Child(Base):\n    def __init__(self, d: float, **more):\n        super().__init__(1, c='y', **more)\n"
        "def make(e, **rest):\n    return Child(**rest)\n"
    )
    assert sorted(signature(f"{module}.Child").parameters) == ["b", "d"]
    assert sorted(signature(f"{module}.make").parameters) == ["b", "d", "e"]
    assert not signature(f"{module}.make").open


def test_keywords_handed_on_in_a_new_mapping_are_found_too(written):
    module = written(
        "class Base:\n    def __init__(self, *, a: int, b: int = 2): ...\n"
        "class Child(Base):\n    def __init__(self, **more):\n        super().__init__(**{**more, 'b': 3})\n"
    )
    assert list(signature(f"{module}.Child").parameters) == ["a"]
    assert not signature(f"{module}.Child").open


def test_keywords_of_unknown_use_leave_the_signature_open(written):
    module = written("class Loose:\n    def __init__(self, a, **kwargs):\n        self.rest = kwargs\n")
    assert signature(f"{module}.Loose").open


def test_a_class_without_constructor_takes_its_bases(written):
    module = written(
        "from torch import nn\nclass Plain:\n    pass\nclass Base:\n    def __init__(self, a): ...\n"
        "class Child(Base):\n    pass\nclass Net(nn.Linear):\n    pass\nclass Strange(undefined):\n    pass\n"
    )
    assert list(signature(f"{module}.Plain").parameters) == []
    assert list(signature(f"{module}.Child").parameters) == ["a"]
    assert "in_features" in signature(f"{module}.Net").parameters
    assert signature(f"{module}.Strange").open
    assert not signature(f"{module}.Plain").open


def test_fields_of_a_dataclass_are_its_parameters(written):
    text = (
        "from dataclasses import dataclass, field\nfrom typing import ClassVar\n"
        "@dataclass\nclass A:\n    x: int\n    kind: ClassVar[str] = 'a'\n"
        "@dataclass(frozen=True)\nclass B(A):\n    y: int = 3\n    z: list = field(default_factory=list)\n"
        "    cached: int = field(init=False, default=0)\n    w: int = field(default=5)\n"
    ).replace("(frozen=True)", "()")
    module = written(text)
    real = dataclasses.fields(__import__(module).B)
    read = signature(f"{module}.B").parameters
    assert list(read) == [each.name for each in real if each.init]
    assert read["x"].required
    assert not read["z"].required
    assert read["w"].default == 5


def test_class_methods_drop_their_first_parameter_and_static_methods_do_not(written):
    module = written(
        "class A:\n    @classmethod\n    def make(cls, x, /, y): ...\n    @staticmethod\n    def plain(a, b): ...\n"
    )
    assert list(signature(f"{module}.A.make").parameters) == ["y"]
    assert list(signature(f"{module}.A.plain").parameters) == ["a", "b"]
