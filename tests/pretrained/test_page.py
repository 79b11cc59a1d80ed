"""What the page about published models promises: its examples run, its table of families is whole."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from tiny_published import gpt2

from omniformer.pretrained import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "pretrained.md").read_text(encoding="utf-8")


def test_every_example_in_python_runs(tmp_path, monkeypatch, capsys):
    import omniformer
    from omniformer import pretrained

    source = gpt2(tmp_path / "models" / "gpt2")
    # Stands for a run that began from it.
    model = pretrained.load(source)
    known = {"family": model.family, "recipe": model.recipe, "files": model.files}
    tuned = pretrained.Tuned(model.model, model.members, **known)
    omniformer.save(tmp_path / "outputs" / "text" / "latest" / "model", tuned, recipe=tuned.recipe)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "back" / "model.safetensors").is_file()
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_every_family_and_its_classes_are_in_the_table(kind):
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (`\w+`(?:, `\w+`)*) \|", PAGE, flags=re.MULTILINE))
    module, name = FAMILIES[kind]
    family = getattr(import_module(f"omniformer.pretrained.families.{module}"), name)
    assert re.findall(r"`(\w+)`", rows[kind]) == list(family.architectures)
