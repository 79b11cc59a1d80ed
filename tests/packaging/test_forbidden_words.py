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


# Ways to run what was read, and to import what data names.
RUNNING = {"eval", "exec", "compile", "os.system", "os.popen", "os.startfile", "pty.spawn"}
RUNNING |= {"torch.jit.load", "torch.package.PackageImporter", "numpy.memmap", "code.interact", "runpy.run_module"}
RUNNING_IN = (
    "pickle.",
    "cPickle.",
    "marshal.",
    "shelve.",
    "dill.",
    "cloudpickle.",
    "joblib.",
    "torch.hub.load",
    "runpy.",
)
RUNNING_IN += ("os.exec", "os.spawn", "os.posix_spawn", "yaml.full_load", "yaml.unsafe_load", "pandas.read_pickle")
RUNNING_IN += ("tempfile.mktemp", "multiprocessing.connection.Client", "webbrowser.")
IMPORTING = {"__import__", "import_module", "importlib.import_module", "importlib.util.spec_from_file_location"}
# Where a module is named by a variable: a table of our own, the allow list, or a constant handed over.
TABLES = {
    "omniformer/__init__.py",
    "omniformer/command.py",
    "omniformer/complete.py",
    "omniformer/config/build.py",
    "omniformer/data/__init__.py",
    "omniformer/data/pyg_dataset.py",
    "omniformer/data/table/molecules.py",
    "omniformer/pretrained/family.py",
    "omniformer/training/__init__.py",
    "scripts/check_environment.py",
    "tokenizers/omniformer_tokenizers/__init__.py",
    "tokenizers/omniformer_tokenizers/_checks.py",
}
# Loaders of YAML that build nothing but plain values.
PLAIN_YAML = {"yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader", "FAST_OR_SAFE"}


def faults(call: ast.Call, place: str = "") -> bool:
    """Whether a call may run what it reads."""
    name = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    return (
        name in RUNNING
        or name.startswith(RUNNING_IN)
        or (name in ("yaml.load", "yaml.load_all") and keywords.get("Loader") not in PLAIN_YAML)
        or keywords.get("shell", "False") != "False"
        or keywords.get("trust_remote_code", "False") != "False"
        or keywords.get("allow_pickle", "False") != "False"
        or (name == "torch.load" and keywords.get("weights_only") != "True")
        or (name.endswith("load_from_checkpoint") and keywords.get("weights_only") != "True")
        or (name in IMPORTING and not isinstance(call.args[0], ast.Constant) and place not in TABLES)
        or (name in ("getattr", "setattr") and ast.unparse(call.args[0]) in ("builtins", "os", "sys.modules"))
    )


def faulty(source: str, place: str = "") -> list[str]:
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [ast.unparse(call) for call in calls if faults(call, place)]


def test_nothing_that_is_read_can_run():
    found = {}
    for path in SOURCES:
        place = path.relative_to(REPOSITORY).as_posix()
        calls = faulty(path.read_text(encoding="utf-8"), place)
        if place == "omniformer/parallel/shards.py":  # the error of its own unpickler, which tests/parallel attack
            calls = [call for call in calls if not call.startswith("pickle.UnpicklingError(")]
        if calls:
            found[place] = calls
    assert found == {}


# What imports a whole kind of danger: sources of ours need none of these.
MODULES = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "runpy",
    "subprocess",
    "code",
    "ctypes",
    "pty",
}
# The name of an error; the memory allocator; whether there is a driver of GPUs; the requeueing of SLURM, whose
# arguments are our own.
HARMLESS = {("planetoid.py", "pickle", "UnpicklingError"), ("pyg_dataset.py", "pickle", "UnpicklingError")}
HARMLESS |= {("allocator.py", "ctypes", None), ("setup.py", "ctypes", None), ("stop.py", "subprocess", None)}
# Reads the metadata of checkpoints in pieces by an unpickler that makes records of PyTorch alone.
HARMLESS |= {("shards.py", "pickle", None)}


def test_no_source_imports_what_could_run_data():
    found = set()
    for path in SOURCES:
        if path.is_relative_to(REPOSITORY / "scripts"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = []
            if isinstance(node, ast.Import):
                named = [(alias.name.split(".")[0], None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                named = [((node.module or "").split(".")[0], alias.name) for alias in node.names]
            found |= {(path.name, *each) for each in named if each[0] in MODULES}
    assert found == HARMLESS


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pickle.loads(data)",
        "subprocess.run(text, shell=True)",
        "eval(text)",
        "numpy.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=trusted)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.full_load(text)",
        "shelve.open(path)",
        "dill.load(file)",
        "cloudpickle.loads(data)",
        "joblib.load(path)",
        "runpy.run_path(path)",
        "os.execvp(name, arguments)",
        "import_module(config['module'])",
        "getattr(builtins, name)",
        "Module.load_from_checkpoint(path)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert faulty(line)


@pytest.mark.parametrize("name", ["pyproject.toml", "tokenizers/pyproject.toml", ".ci/run", "README.md"])
def test_no_file_names_a_package_index(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"index-url|find-links|https?://[^\s)]*(pypi|simple)", text)
