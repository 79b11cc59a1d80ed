"""The table of docs/scale.md is what `omniformer inspect` computes today."""

import importlib.util
import re
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("write_scale", SCRIPTS / "write_scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow  # 16 models, each without memory, twice
@pytest.mark.timeout(1800)
def test_the_page_is_what_is_computed(writer):
    assert writer.page() == writer.PAGE.read_text(encoding="utf-8"), "run scripts/write_scale.py"


def test_the_numbers_quoted_below_the_table_are_those_of_its_rows(writer):
    page = writer.PAGE.read_text(encoding="utf-8")
    ((whole, every),) = re.findall(r"([\d.]+) of ([\d.]+) GB of `llama3_8b` on 64", page)
    assert re.search(rf"\| `llama3_8b` \| 64 \| fsdp \| [^|]+ \| {whole} GB \| [^|]+ \| {every} GB \|", page)


def test_a_page_without_its_comments_is_told(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PAGE", tmp_path / "scale.md")
    writer.PAGE.write_text("# Many devices\n")
    with pytest.raises(ValueError, match=r"scale\.md: .* stand around its table; write both"):
        writer.page()
