"""Folders from strangers, by every door: nothing in them runs, nothing outside is read or written, and each is refused
in one sentence.
"""

import copy
import io
import json
import os
import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from canary import canary

import omniformer
from omniformer import folder as folders
from omniformer.adapters import load_adapter
from omniformer.config import entry_point
from omniformer.data.pyg_dataset import PyGDataset, pyg
from omniformer.evaluate import main as evaluate
from omniformer.experiment import assemble
from omniformer.export.__main__ import main as export
from omniformer.generate import main as generate
from omniformer.predict import main as predict
from omniformer.run_folder import read_run
from omniformer.train import main as train
from omniformer.training.checkpoint_io import DurableCheckpointIO
from omniformer.training.csv_log import CSVLog

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*has no .*beside it")
TINY = ["modality=vision", "core.d_model=16", "core.n_layers=1", "core.n_heads=2", "callbacks=default"]


@entry_point("train")
def composed(config):
    return config


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A run folder of an untrained model, as training leaves it."""
    place = tmp_path_factory.mktemp("honest")
    config = composed([*TINY, f"paths.output_dir={place / 'run'}"])
    experiment = assemble(config)
    folders.save(place / "run" / "model", experiment.predictor(), recipe=experiment.recipe)
    (place / "run" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return place / "run"


class Stage:
    """A stranger's folder, what lies outside of it, and the mark that an attack would leave."""

    def __init__(self, place: Path, honest: Path) -> None:
        self.run, self.outside = place / "run", place / "outside"
        shutil.copytree(honest, self.run)
        self.outside.mkdir()
        (self.outside / "secret.json").write_text('{"model_type": "gpt2", "secret": "swordfish"}')
        (self.outside / "hostile_package.py").write_text(f"import os\nos.mkdir({str(self.mark)!r})\ndef part(): ...\n")
        self.model = self.run / "model"

    @property
    def mark(self) -> Path:
        return self.outside / "pwned"

    @property
    def command(self) -> list[str]:
        return ["touch", str(self.mark)]

    def change(self, do) -> None:
        """Changes the model's description."""
        path = self.model / "config.json"
        config = json.loads(path.read_text())
        do(config)
        path.write_text(json.dumps(config))

    def settings(self, do) -> None:
        """Changes the run's configuration."""
        path = self.run / "config.yaml"
        config = yaml.safe_load(path.read_text())
        do(config)
        path.write_text(yaml.safe_dump(config, sort_keys=False))

    def refused(self, door, *, inside: Path | None = None, capsys=None) -> str:
        """What the door says; that it says it as one sentence, and that nothing else happens."""
        before = {path: path.stat().st_mtime_ns for path in self.outside.rglob("*")}
        status: object = 1
        with canary(inside or self.run, self.outside) as notes:
            try:
                door()
            except SystemExit as stop:
                status = stop.code
                said = capsys.readouterr().err if capsys else ""
            except (ValueError, OSError) as error:
                said = str(error)
            else:
                pytest.fail("nothing was refused")
        assert notes == []
        assert status in (1, 2) and "Traceback" not in said
        assert not self.mark.exists()
        assert {path: path.stat().st_mtime_ns for path in self.outside.rglob("*")} == before
        assert "swordfish" not in said
        return said


@pytest.fixture
def stage(tmp_path, honest, monkeypatch):
    monkeypatch.setenv("SECRET", "swordfish")
    stage = Stage(tmp_path, honest)
    monkeypatch.syspath_prepend(str(stage.outside))
    yield stage
    sys.modules.pop("hostile_package", None)


class Bomb:
    """A pickle that runs a command when it is read."""

    def __init__(self, command) -> None:
        self.command = command

    def __reduce__(self):
        import subprocess

        return subprocess.check_call, (self.command,)


def test_the_honest_folder_is_not_refused(stage):
    with canary(stage.run, stage.outside) as notes:
        assert len(omniformer.load(stage.run).predict([torch.zeros(1, 8, 8)])) == 1
    assert notes == []


def test_an_honest_run_is_measured_again(stage, capsys):
    evaluate([str(stage.run)])
    assert "test/accuracy" in capsys.readouterr().out


def test_the_canary_sings(stage):
    with canary(stage.run, stage.outside) as notes:
        pickle.loads(pickle.dumps(Bomb(["true"])))
        (stage.outside / "secret.json").read_text()
        __import__("hostile_package")
    assert len(notes) >= 3 and stage.mark.exists()


def popen(stage):
    return {"_target_": "subprocess.Popen", "args": stage.command}


def write(stage):
    return {
        "_target_": "omniformer.files.durable.write_durably",
        "path": {"_target_": "omniformer.data.source.resolve", "path": str(stage.mark), "data_root": None},
        "text": "owned",
    }


def lifting(stage):
    """A folder in the folder that allows itself what it names."""
    inner = stage.run / "inner"
    shutil.copytree(stage.model, inner)
    config = json.loads((inner / "config.json").read_text())
    config["recipe"]["core"] = popen(stage)
    (inner / "config.json").write_text(json.dumps(config))
    return {"_target_": "omniformer.folder.load", "folder": str(inner), "allow_targets": ["subprocess"]}


def target(name, **arguments):
    return lambda stage: {"_target_": name, **arguments}


# What a hostile node is, and where in the recipe it stands.
NODES = {
    "a program": popen,
    "a file, written by our own functions": write,
    "a folder that lifts the list from inside": lifting,
    "a shell": target("os.system", command="touch pwned"),
    "an alias of a shell": target("posix.system", command="touch pwned"),
    "an alias through a module of ours": target("omniformer.batch.torch.hub.load", repo_or_dir="x", model="y"),
    "eval": target("builtins.eval", source="1"),
    "a pickle": target("torch.load", f="x", weights_only=False),
    "an array of objects": target("numpy.load", file="x", allow_pickle=True),
    "a package that runs when imported": target("hostile_package.part"),
    "the builder itself": target("omniformer.config.build.build", node={"_target_": "os.getcwd"}),
    "the list itself": target("omniformer.config.allow.allowing", own=["subprocess"]),
    "another recipe": target("omniformer.recipe.build_model", recipe={}),
    "a reader of vocabularies": target("omniformer_tokenizers.SubwordTokenizer.from_file", path="/etc/passwd"),
    "a reader of folders": target("omniformer_tokenizers.BPETokenizer.from_pretrained", folder="/etc"),
    "an entry point": target("omniformer.train.main", arguments=["modality=text"]),
    "a logger": target("lightning.pytorch.loggers.CSVLogger", save_dir="/tmp"),
    "a callback": target("omniformer.training.metrics_file.MetricsFile", path="x", seed=0),
    "data": target("omniformer.data.PyGDataset", dataset="KarateClub"),
    "an optimizer": target("torch.optim.AdamW", params=[]),
    "no text": target(["os.system"]),
    "an interpolation": target("${oc.env:SECRET}"),
    "no module": target("omniformer.core.rules.Causal"),
}
PLACES = {
    "core": lambda recipe, node: recipe.update(core=node),
    "nested": lambda recipe, node: recipe["core"].update(norm=node),
    "listed": lambda recipe, node: recipe["core"].update(dropout=[[node]]),
    "partial": lambda recipe, node: recipe["core"].update(norm={**node, "_partial_": True}),
    "positional": lambda recipe, node: recipe["core"].update(_args_=[node]),
    "embedder": lambda recipe, node: next(iter(recipe["embedders"].values())).update(node=node),
    "rule": lambda recipe, node: recipe.update(rules={next(iter(recipe["heads"])): node}),
}
CASES = [("core", what) for what in NODES] + [
    (place, what) for place in list(PLACES)[1:] for what in ("a program", "a file, written by our own functions")
]


@pytest.mark.parametrize(("place", "what"), CASES, ids=lambda value: value.replace(" ", "-"))
def test_a_recipe_builds_parts_of_models_and_nothing_else(stage, place, what):
    node = NODES[what](stage)
    stage.change(lambda config: PLACES[place](config["recipe"], copy.deepcopy(node)))
    said = stage.refused(lambda: omniformer.load(stage.run))
    assert "config.json" in said and "\n" not in said
    # By the list, before anything is built: not because what was built does not fit.
    assert "._target_: " in said or what == "no module" or place == "positional"


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "/etc/passwd"},
        {"download": True},
        {"cache_folder": "/tmp"},
        {"dropout": "${oc.env:SECRET}"},
        {"d_model": "${oc.env:SECRET}"},
        {"_args_": [1]},
        {"n_heads": 0},
    ],
    ids=str,
)
def test_a_recipe_sets_nothing_that_is_not_the_models(stage, settings):
    stage.change(lambda config: config["recipe"]["core"].update(settings))
    assert "config.json: core" in stage.refused(lambda: omniformer.load(stage.run))


@pytest.mark.parametrize("recipe", [None, [], {"core": 3}, {"core": {"_target_": "omniformer.core.Transformer"}}, "x"])
def test_a_recipe_of_another_form_is_told(stage, recipe):
    stage.change(lambda config: config.update(recipe=recipe))
    assert "config.json" in stage.refused(lambda: omniformer.load(stage.run))


def test_the_refusal_says_what_the_folder_asks_for_and_what_to_type(stage):
    stage.change(lambda config: config.update(allow_targets=["hostile_package", "rm -rf; x"]))
    stage.change(lambda config: config["recipe"].update(core={"_target_": "hostile_package.part"}))
    said = stage.refused(lambda: omniformer.load(stage.run))
    assert "in a saved model" in said and "asks for hostile_package:" in said
    assert "add --allow-targets hostile_package (" in said and "rm -rf" not in said


NAMES = ["../../outside", "/etc", "..", "a/b", "a\\b", "C:x", "", "\0"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("kind", ["modality", "member"])
def test_names_in_a_folder_lead_nowhere_else(stage, name, kind):
    def rename(config):
        (member,) = config["members"].values()
        if kind == "modality":
            member["modalities"] = [name]
        else:
            config["members"] = {name: member}

    stage.change(rename)
    if (kind, name) == ("member", ""):
        pytest.skip("a member without a name is that of tokenizers that belong to none")
    assert "accepted: a plain name" in stage.refused(lambda: omniformer.load(stage.run))


LINKS = {
    "the description": "model/config.json",
    "the weights": "model/model.safetensors",
    "the model": "model",
    "the tokenizers": "model/tokenizers",
    "a file beside them": "model/vocab.json",
}


@pytest.mark.parametrize("path", LINKS.values(), ids=lambda value: value.replace("/", "-"))
def test_links_lead_nowhere_else(stage, path):
    place = stage.run / path
    goal = stage.outside / Path(path).name
    if place.is_dir():
        shutil.copytree(place, goal)
        shutil.rmtree(place)
    else:
        goal.write_bytes(place.read_bytes() if place.exists() else b"{}")
        place.unlink(missing_ok=True)
    place.symlink_to(goal)
    assert "is a link that leads out of" in stage.refused(lambda: omniformer.load(stage.run))


def test_a_link_inside_the_folder_and_one_to_it_are_no_harm(stage, tmp_path):
    shutil.move(stage.model / "model.safetensors", stage.run / "weights.safetensors")
    (stage.model / "model.safetensors").symlink_to("../weights.safetensors")
    (tmp_path / "latest").symlink_to(stage.run)
    assert omniformer.load(tmp_path / "latest").members


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("file", ["model/model.safetensors", "model/config.json", "tokenizer"])
def test_a_pickle_under_any_name_is_not_run(stage, file, protocol):
    place = stage.run / file if "/" in file else next(stage.model.rglob("tokenizer_config.json"))
    place.write_bytes(pickle.dumps(Bomb(stage.command), protocol=protocol))
    stage.refused(lambda: omniformer.load(stage.run))


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 2**40) + b"{}",
        b'{"w": {"dtype": "F32", "shape": [1000000000000, 1000], "data_offsets": [0, 4000000000000000]}}',
        b'{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b"{" * 100_000,
    ],
    ids=["2^63 bytes", "2^40 bytes", "petabytes", "a negative size", "nested"],
)
def test_headers_of_weights_that_lie_are_refused(stage, header):
    whole = header if header[:1] != b"{" else struct.pack("<Q", len(header)) + header
    (stage.model / "model.safetensors").write_bytes(whole)
    assert "model.safetensors" in stage.refused(lambda: omniformer.load(stage.run))


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"recipe": ' * 3_000, b"\xff\xfe", b"null", b""], ids=len)
def test_a_description_that_is_none_is_refused(stage, content):
    (stage.model / "config.json").write_bytes(content)
    assert "config.json" in stage.refused(lambda: omniformer.load(stage.run))


@pytest.mark.parametrize(
    "config",
    [
        {"tokenizer": "../../outside"},
        {"tokenizer": "__builtins__"},
        {"tokenizer": "load"},
        {"tokenizer": ["PatchTokenizer"]},
        {"tokenizer": "GraphTokenizer", "cache_folder": "/tmp/pwned"},
        {"tokenizer": "ClassTokens", "n": 1, "inside": {"tokenizer": "GraphTokenizer", "cache_folder": "/tmp/pwned"}},
        {"tokenizer": "ClassTokens", "n": 1, "inside": {"tokenizer": "encode_corpus", "folder": "/tmp/pwned"}},
    ],
    ids=str,
)
def test_a_tokenizer_names_no_code_and_no_place(stage, config):
    next(stage.model.rglob("tokenizer_config.json")).write_text(json.dumps(config))
    stage.refused(lambda: omniformer.load(stage.run))


@pytest.mark.parametrize(
    "content", [b"\x80\x04.", b"[" * 100_000, b'{"model": {"type": "BPE", "vocab": {"a": -1}}}'], ids=len
)
def test_an_odd_vocabulary_is_refused(stage, content):
    place = next(stage.model.rglob("tokenizer_config.json"))
    place.write_text(json.dumps({"tokenizer": "BPETokenizer", "vocab_size": 300}))
    (place.parent / "tokenizer.json").write_bytes(content)
    assert "tokenizer.json" in stage.refused(lambda: omniformer.load(stage.run))


@pytest.fixture
def published(stage):
    """A stranger's folder in the layout of the reference library, with no weights yet."""
    shutil.rmtree(stage.model)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 30}
    (stage.run / "config.json").write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2Model"], **sizes}))
    return stage


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("file", ["../outside/secret.json", "/etc/passwd", "a/../../outside/secret.json", 3])
def test_an_index_of_shards_stays_in_its_folder(published, index, file):
    (published.run / index).write_text(json.dumps({"weight_map": {"wte.weight": file}}))
    assert index in published.refused(lambda: omniformer.load(published.run))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_weights_is_not_run(published, protocol):
    torch.save(
        {"wte.weight": Bomb(published.command)}, published.run / "pytorch_model.bin", pickle_protocol=max(protocol, 2)
    )
    if protocol < 2:
        (published.run / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(published.command), protocol=protocol))
    assert "pytorch_model.bin" in published.refused(lambda: omniformer.load(published.run))


def compressed(path: Path, size: int) -> None:
    """An archive as torch writes it, but compressed: much larger than it looks."""
    plain = io.BytesIO()
    torch.save({"w": torch.zeros(size, dtype=torch.uint8)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in source.namelist():
            bomb.writestr(name, source.read(name))


def test_compressed_weights_are_refused_before_they_unpack(published):
    compressed(published.run / "pytorch_model.bin", 50_000_000)
    assert "would unpack to" in published.refused(lambda: omniformer.load(published.run))


def test_a_vocabulary_that_is_a_link_is_not_read(published):
    (published.run / "vocab.json").symlink_to(published.outside / "secret.json")
    assert "leads out of" in published.refused(lambda: omniformer.load(published.run))


def test_a_checkpoint_is_neither_run_nor_unpacked(stage):
    path = stage.run / "last.ckpt"
    for protocol in range(6):
        path.write_bytes(pickle.dumps({"state_dict": Bomb(stage.command)}, protocol=protocol))
        stage.refused(lambda: DurableCheckpointIO().load_checkpoint(path))
        torch.save({"rng": Bomb(stage.command)}, path, pickle_protocol=max(protocol, 2))
        stage.refused(lambda: DurableCheckpointIO().load_checkpoint(path))
    compressed(path, 50_000_000)
    assert "would unpack to" in stage.refused(lambda: DurableCheckpointIO().load_checkpoint(path))


@pytest.mark.parametrize("file", ["adapter.json", "adapter.safetensors"])
def test_an_adapter_is_no_link(stage, file):
    place = stage.run / "adapter"
    place.mkdir()
    for name in {"adapter.json", "adapter.safetensors"} - {file}:
        (place / name).write_text("{}")
    (place / file).symlink_to(stage.outside / "secret.json")
    assert "leads out of" in stage.refused(lambda: load_adapter(torch.nn.Linear(1, 1), place))


DOORS = {
    "predict": lambda stage: lambda: predict([str(stage.run), "a text"]),
    "generate": lambda stage: lambda: generate([str(stage.run), "a text"]),
    "export": lambda stage: lambda: export([str(stage.run), "--out", str(stage.run / "out")]),
    "evaluate": lambda stage: lambda: evaluate([str(stage.run)]),
    "model.pretrained": lambda stage: (
        lambda: train([*TINY, f"model.pretrained={stage.run}", f"paths.output_root={stage.run / 'new'}"])
    ),
}


@pytest.mark.parametrize("attack", ["a program", "a link"])
@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_in_one_sentence(stage, door, attack, capsys):
    if attack == "a link":
        shutil.copy(stage.model / "model.safetensors", stage.outside)
        (stage.model / "model.safetensors").unlink()
        (stage.model / "model.safetensors").symlink_to(stage.outside / "model.safetensors")
    else:
        stage.change(lambda config: config["recipe"].update(core=write(stage)))
    said = stage.refused(DOORS[door](stage), capsys=capsys)
    assert said.count("error: ") == 1


def test_a_run_that_is_resumed_holds_no_link_out(stage, capsys):
    shutil.rmtree(stage.run / "model")
    (stage.run / "metrics.csv").symlink_to(stage.outside / "victim.csv")
    said = stage.refused(lambda: train([*TINY, f"resume={stage.run}"]), capsys=capsys)
    assert "leads out of" in said


def data(node):
    return lambda stage: lambda config: config["data"].update(source=node(stage))


SETTINGS = {
    "a program as data": data(popen),
    "a writer as data": data(write),
    "a callback as data": data(target("omniformer.training.csv_log.CSVLog", path="pwned.csv")),
    "a package as data": data(target("hostile_package.part")),
    "a program as a task": lambda stage: lambda config: config.update(task=popen(stage)),
    "a program as a callback": lambda stage: lambda config: config["callbacks"].update(evil=popen(stage)),
    "itself on the list": lambda stage: (
        lambda config: config.update(allow_targets=["subprocess"], data=config["data"] | {"source": popen(stage)})
    ),
    "the trainer's callbacks": lambda stage: lambda config: config["trainer"].update(callbacks="x"),
    "an interpolation": data(target("omniformer.data.ImageFolder", root="${oc.env:SECRET}")),
    "a download": data(
        lambda stage: {
            "_target_": "omniformer.data.GraphTables",
            "nodes": f"planetoid:{stage.outside}/Cora",
            "download": True,
        }
    ),
    "PyG's files, outside": data(
        lambda stage: {
            "_target_": "omniformer.data.PyGDataset",
            "dataset": "TUDataset",
            "root": str(stage.outside / "new"),
            "options": {"name": "MUTAG"},
        }
    ),
}


@pytest.mark.parametrize("what", SETTINGS, ids=lambda value: value.replace(" ", "-"))
def test_the_settings_of_a_run_measure_it_and_do_nothing_else(stage, what, capsys):
    stage.settings(SETTINGS[what](stage))
    said = stage.refused(lambda: evaluate([str(stage.run)]), capsys=capsys)
    assert said.count("error: ") == 1


def test_a_run_that_is_measured_starts_no_crowd_of_processes(stage):
    stage.settings(lambda config: config["data"].update(num_workers=100_000))
    assert read_run(stage.run)[1]["data"]["num_workers"] <= os.cpu_count()


YAML = {
    "a tag": "!!python/object/apply:os.system ['touch pwned']",
    "a nested tag": "paths: {}\nname: !!python/object/new:os.system ['touch pwned']",
    "a module": "!!python/module:hostile_package",
    "laughter": "a: &a [x, x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12))
    + "paths: {}\n",
    "no mapping": "[1, 2]",
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("what", YAML, ids=lambda value: value.replace(" ", "-"))
def test_yaml_is_data(stage, what, capsys):
    (stage.run / "config.yaml").write_text(YAML[what])
    said = stage.refused(lambda: evaluate([str(stage.run)]), capsys=capsys)
    assert "config.yaml" in said


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("file", ["data.pt", "pre_transform.pt"])
def test_a_file_that_pyg_made_is_not_run(stage, file, protocol):
    pyg("datasets")
    processed = stage.run / "MUTAG" / "processed"
    for folder in (processed, stage.run / "MUTAG" / "raw"):
        folder.mkdir(parents=True)
    for name in ("MUTAG_A.txt", "MUTAG_graph_indicator.txt"):
        (stage.run / "MUTAG" / "raw" / name).write_text("")
    for name in ("pre_transform.pt", "pre_filter.pt"):
        torch.save("None", processed / name)
    torch.save(({"x": torch.zeros(1)}, None), processed / "data.pt")
    torch.save(Bomb(stage.command), processed / file, pickle_protocol=protocol)
    said = stage.refused(lambda: PyGDataset(dataset="TUDataset", root=str(stage.run), options={"name": "MUTAG"}))
    assert ("a pickle that is only to be read wants" in said or "was not run" in said) and "\n" not in said


def test_raw_files_of_pyg_that_are_pickles_are_not_run(stage):
    raw = stage.run / "Cora" / "raw"
    raw.mkdir(parents=True)
    for name in ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index"):
        (raw / f"ind.cora.{name}").write_bytes(pickle.dumps(Bomb(stage.command), protocol=2))
    (raw / "ind.cora.test.index").write_text("0\n")
    options = {"name": "Cora"}
    stage.refused(lambda: PyGDataset(dataset="Planetoid", root=str(stage.run), options=options, target="node_label"))


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1+1", "-A1", "@SUM(A1)", "\tx"])
def test_a_table_holds_no_formulas(tmp_path, name):
    log = CSVLog(path=str(tmp_path / "metrics.csv"))
    log.log_metrics({name: 1.0}, step=1)
    log.finalize("success")
    row = (tmp_path / "metrics.csv").read_text().splitlines()[1]
    assert row.split(",")[2].strip('"').startswith("'")


def test_nothing_was_left_where_tests_run():
    assert not os.path.exists("pwned")
