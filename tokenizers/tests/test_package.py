"""The package as a whole: what importing it costs, what a missing library says, how its parts depend on each other."""

import ast
import subprocess
import sys
from pathlib import Path

import omniformer_tokenizers as ot
import pytest

HEAVY = (
    "torch",
    "numpy",
    "tokenizers",
    "sentencepiece",
    "PIL",
    "soundfile",
    "torchaudio",
    "torchvision",
    "torch_geometric",
    "scipy",
    "networkx",
    "sklearn",
    "rdkit",
)
ROOT = Path(ot.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_package_loads_no_library():
    loaded = run("import sys, omniformer_tokenizers; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_using_one_tokenizer_loads_no_library_of_another():
    code = """
import sys, torch, omniformer_tokenizers as ot
before = set(sys.modules)
ot.PatchTokenizer()(torch.zeros(3, 16, 16))
ot.SpectrogramTokenizer()(torch.zeros(16000))
ot.GraphTokenizer(laplacian=2)({"n_nodes": 2, "edges": [[0, 1]]})
ot.ByteTokenizer()("text")
ot.SeriesTokenizer()(torch.zeros(1, 4))
print(*(name for name in sys.modules if name not in before))
"""
    loaded = {name.partition(".")[0] for name in run(code).split()}
    assert not loaded & {"torchvision", "torchaudio", "torch_geometric", "PIL", "soundfile", "tokenizers", "scipy"}


USES = {
    "tokenizers": "ot.BPETokenizer()",
    "sentencepiece": "ot.SentencePieceTokenizer()",
    "PIL": "ot.PatchTokenizer()(b'')",
    "soundfile": "ot.SpectrogramTokenizer()(b'')",
    "torchaudio": "ot.SpectrogramTokenizer()((torch.zeros(9), 8000))",
    "scipy": "encodings.shortest_paths(torch.zeros(2, 0, dtype=torch.int64), 1, longest=2)",
    "rdkit": "ot.MoleculeTokenizer()('C')",
}


def test_a_missing_library_is_told_in_one_sentence_with_the_install_line():
    code = ["import sys", *(f"sys.modules[{module!r}] = None" for module in USES)]
    code += ["import torch, omniformer_tokenizers as ot", "from omniformer_tokenizers.graph import encodings"]
    for use in USES.values():
        code += ["try:", f"    {use}", "except ImportError as error:", "    print(error)"]
    sentences = run("\n".join(code)).splitlines()
    for module, sentence in zip(USES, sentences, strict=True):
        library = "pillow" if module == "PIL" else module
        assert sentence.endswith(f"needs {module}, which is not installed: pip install {library}")


def test_every_public_name_loads_and_an_unknown_one_is_told():
    for name in ot.__all__:
        assert getattr(ot, name).__name__ == name
    assert set(ot.__all__) <= set(dir(ot))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'; it has Tokens"):
        _ = ot.Nothing


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sources_import_no_framework_and_use_nothing_unsafe(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in imported}
    assert not roots & {"omniformer", "lightning", "hydra", "omegaconf", "transformers", "pickle", "marshal", "shelve"}
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"eval", "exec", "torch.load", "torch.save", "np.load", "os.system"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_function_and_class_is_documented(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
