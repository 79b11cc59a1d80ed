"""No page and no message tells anybody to install a distribution of our names from an index."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = re.compile(r"(?:pip3? install|uv add|uv tool install|uvx)\b([^\n]*(?:\\\n[^\n]*)*)")
# A name of ours that is neither part of a path or file, nor of another name.
BARE = re.compile(r"(?<![\w./*-])omniformer(?:[-_]framework)?(?:[-_]tokenizers)?(?=\[|[=<>~!]=?|[\s'\"`),;.]|$)")


def files():
    """Pages and programs in the folder and in those inside it that are not hidden, as environments are."""
    places = [place for place in sorted(REPOSITORY.iterdir()) if not place.name.startswith(".")]
    found = [path for place in places for path in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return [path for path in found if path.suffix in (".md", ".py") and path != Path(__file__)]


def texts(path):
    """A page, or the strings of a program, docstrings among them; parts of an f-string are read as one."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return [source]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def faulty(text):
    """Install lines that would ask an index for one of our names; what `uvx --from WHEEL` runs is no such name."""
    lines = (match for match in COMMAND.finditer(text) if BARE.search(re.split("`|&&", match.group(1))[0]))
    return [match.group() for match in lines if "--from dist/" not in match.group()]


@pytest.mark.slow
def test_no_install_line_asks_an_index_for_a_name_of_ours():
    found = files()
    assert {REPOSITORY / "README.md", REPOSITORY / "omniformer" / "__init__.py"} <= set(found)
    assert {path.name: lines for path in found for text in texts(path) if (lines := faulty(text))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install omniformer",
        "pip install 'omniformer[export]'",
        "run `pip install omniformer-framework-tokenizers`",
        "uv pip install -q omniformer-tokenizers==0.1",
        "uv add omniformer-framework",
        "uvx omniformer train",
        "needs torch: pip install torch omniformer",
    ],
)
def test_the_search_finds_what_it_looks_for(text):
    assert faulty(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install './tokenizers[text]'",
        "pip install dist/omniformer_framework-0.1.0-py3-none-any.whl",
        "uv sync --extra export",
        "uvx --from dist/omniformer_framework-0.1.0-py3-none-any.whl omniformer train",
        "`pip install onnx`, then `python -m omniformer.export`",
        "pip uninstall omniformer",
    ],
)
def test_clones_and_wheel_files_are_fine(text):
    assert not faulty(text)
