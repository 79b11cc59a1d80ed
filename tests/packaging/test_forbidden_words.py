"""What may stand in no file of ours: ways to run what was read, and addresses that tie the project to one place."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("omniformer", "tokenizers/omniformer_tokenizers", "hydra_plugins", "scripts")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
]


def faults(call: ast.Call) -> bool:
    """Whether a call may run what it reads."""
    name = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    return (
        name in {"eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen"}
        or name.startswith(("pickle.", "marshal.", "joblib.load", "torch.hub"))
        or keywords.get("shell") == "True"
        or keywords.get("allow_pickle", "False") != "False"
        or (name == "torch.load" and keywords.get("weights_only") != "True")
    )


def faulty(source: str) -> list[str]:
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and faults(node)]


def test_nothing_that_is_read_can_run():
    found = {path: calls for path in SOURCES if (calls := faulty(path.read_text(encoding="utf-8")))}
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pickle.loads(data)",
        "subprocess.run(text, shell=True)",
        "eval(text)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert faulty(line)


@pytest.mark.parametrize("name", ["pyproject.toml", "tokenizers/pyproject.toml", ".ci/run", "README.md"])
def test_no_file_names_a_package_index(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|https?://[^\s)]*(pypi|simple)", text)
