"""What docstrings say of classes and parameters."""

from functools import cache

import pytest
import yaml

from omniformer.config.docs import arguments, meaning, summary
from omniformer.config.folder import conf_dir
from omniformer.config.signature import signature
from omniformer.config.source import find


@pytest.mark.parametrize(
    ("docstring", "found"),
    [
        ("It.\n\nArgs:\n    a: one.\n    b: another,\n        and: more.\n", {"a": "one.", "b": "another, and: more."}),
        (
            "Args:\n    a (int, optional): 1.\n    **kw: rest.\n\nReturns:\n    c: no.",
            {"a": "1.", "kw": "rest."},
        ),
        ("Args:\n\n    a: one.\n\n        Default: ``0``.\n\n    b: two.", {"a": "one. Default: ``0``.", "b": "two."}),
        ("Args:\n  a: two spaces.\n  b (:class:`X`, (1, 2)): brackets.", {"a": "two spaces.", "b": "brackets."}),
        ("Args: nothing like a section.\n    a: one.", {}),
        ("", {}),
    ],
)
def test_the_entries_of_a_section_are_read(docstring, found):
    assert arguments(docstring) == found


@pytest.mark.parametrize(
    ("target", "parameter", "begins"),
    [
        ("omniformer.training.optimizers.Muon", "lr", "peak learning rate, for both"),
        ("lightning.Trainer", "max_epochs", "Stop training once"),  # by the constructor
        ("omniformer_tokenizers.PatchTokenizer", "patch_size", "height and width of a patch"),
        ("torch.nn.Linear", "bias", "If set to ``False``"),
    ],
)
def test_a_parameter_is_described_where_its_class_or_a_base_says_so(target, parameter, begins):
    assert (meaning(find(target), parameter) or "").startswith(begins)


def test_a_summary_is_the_first_paragraph():
    assert summary(find("omniformer.training.optimizers.AdamW")).startswith("AdamW (Loshchilov and Hutter 2019")
    assert summary(find("lightning.Trainer")) == "Customize every aspect of training via flags."


@cache
def shipped():
    """Targets of ours in the shipped files, with the keys that the files give them."""

    def nodes(value):
        if isinstance(value, dict):
            if "_target_" in value:
                yield value["_target_"], tuple(key for key in value if not key.startswith("_") and key != "defaults")
            for child in value.values():
                yield from nodes(child)
        elif isinstance(value, list):
            for child in value:
                yield from nodes(child)

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    files = [yaml.load(path.read_text(encoding="utf-8"), loader) for path in conf_dir().rglob("*.yaml")]
    return {(target, key) for content in files for target, keys in nodes(content) for key in keys}


def test_every_key_in_a_shipped_file_is_described_by_its_class():
    missing = []
    for target, key in sorted(shipped()):
        described = signature(target)
        parameter = described.parameters.get(key)
        if parameter is not None and not (meaning(described.definition, key) or meaning(parameter.owner, key)):
            missing.append(f"{target}: {key}")
    assert missing == []
