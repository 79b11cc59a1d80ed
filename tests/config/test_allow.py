from importlib import import_module

import pytest

from omniformer.config.allow import NotAllowedError, allowed, allowing
from omniformer.config.build import build
from omniformer.config.errors import BuildError, ConfigError
from omniformer.config.validate import validate_node

# Ways to run code, to write files, to load pickles: by name, by alias, by detour through our modules, by method.
HOSTILE = [
    "os.system",
    "os.popen",
    "os.remove",
    "os.execv",
    "posix.system",
    "nt.system",
    "subprocess.Popen",
    "subprocess.run",
    "subprocess.check_output",
    "builtins.eval",
    "builtins.exec",
    "builtins.open",
    "builtins.__import__",
    "eval",
    "exec",
    "importlib.import_module",
    "runpy.run_path",
    "timeit.timeit",
    "code.InteractiveInterpreter",
    "pickle.loads",
    "pickle.load",
    "shutil.rmtree",
    "pathlib.Path.write_text",
    "pathlib.Path.unlink",
    "logging.os.system",
    "logging.config.dictConfig",
    "numpy.load",
    "torch.load",
    "torch.hub.load",
    "torch.serialization.load",
    "torch.utils.data.os.system",
    "torch.optim.optimizer.functools.partial",
    "torch.jit.load",
    "torch._inductor.utils.run_and_get_code",
    "torch.nn.Module.load_state_dict",
    "lightning.Trainer.save_checkpoint",
    "lightning.pytorch.callbacks.model_checkpoint.os.remove",
    "lightning.pytorch.loggers.csv_logs.os.system",
    "lightning.pytorch.trainer.trainer.os.system",
    "torchmetrics.metric.functools.partial",
    "hydra.utils.instantiate",
    "hydra._internal.instantiate._instantiate2.instantiate",
    "omniformer.batch.torch.load",
    "omniformer.batch.torch.hub.load",
    "omniformer.config.build.build",
    "omniformer.config.build.import_module",
    "omniformer.config.allow.allowing",
    "omniformer.batch.Batch.__init__.__globals__",
    "omniformer_tokenizers.tokenizer.json.loads",
    "omniformer_tokenizers.tokenizer.import_module",
    "omniformer_tokenizers.Tokenizer.save_pretrained",
    "omniformer._confpath.conf_dir",
    "omniformer.no_such_module.Net",
    "",
    ".",
    "os.system\n",
    " os.system",
    "omniformer.../../os.system",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_targets_are_refused_before_anything_is_imported(target, monkeypatch):
    def trapped(name):
        assert name == "torch.nn.modules.linear", f"imported {name}"
        return import_module(name)

    monkeypatch.setattr(import_module("omniformer.config.build"), "import_module", trapped)
    evil = {"_target_": target}
    for node in (
        evil,
        evil | {"_partial_": True},
        {"_target_": "torch.nn.Linear", "in_features": evil, "out_features": 1},
        [evil],
        {"deep": {"er": [evil]}},
    ):
        with pytest.raises(BuildError, match="_target_: "):
            build(node, "config")
        with pytest.raises(ConfigError, match="_target_: "):
            validate_node(node, "config")


@pytest.mark.parametrize("target", [None, 3, ["os.system"], {"_target_": "os.system"}])
def test_a_target_that_is_no_text_is_refused(target):
    with pytest.raises(BuildError, match="_target_: "):
        build({"_target_": target}, "config")


@pytest.mark.parametrize(
    "target",
    [
        "omniformer.batch.Sample",
        "omniformer.batch.collate",
        "omniformer_tokenizers.PatchTokenizer",
        "omniformer_tokenizers.BPETokenizer.from_pretrained",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "torch.nn.GELU",
        "torchmetrics.classification.MulticlassAccuracy",
        "lightning.Trainer",
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.loggers.TensorBoardLogger",
        "lightning.pytorch.profilers.SimpleProfiler",
        "lightning.pytorch.strategies.DDPStrategy",
    ],
)
def test_the_parts_of_a_run_are_allowed(target):
    assert allowed(target).path


def test_own_code_is_allowed_while_its_package_is_named(toybox):
    with pytest.raises(NotAllowedError, match="allow_targets"):
        allowed("toybox.Part")
    for entry in ("toybox", "toybox.", "toybox.Part"):
        with allowing([entry]):
            assert allowed("toybox.Part").path == "toybox.Part"
    with allowing(["toybox.Part"]), pytest.raises(NotAllowedError):
        allowed("toybox.Core")
    with allowing(["toy"]), pytest.raises(NotAllowedError):
        allowed("toybox.Part")
    with pytest.raises(NotAllowedError):
        allowed("toybox.Part")


@pytest.mark.parametrize("entry", ["", ".", "*", "a..b", "my package"])
def test_an_own_entry_that_is_no_package_is_refused(entry):
    with pytest.raises(ValueError, match="names of packages"), allowing([entry]):
        pass


def test_an_object_swapped_at_import_time_is_not_built(toybox):
    (toybox / "swapped.py").write_text("import os\ndef honest(command): ...\nglobals()['honest'] = os.system\n")
    with allowing(["swapped"]), pytest.raises(BuildError, match="replaced"):
        build({"_target_": "swapped.honest", "command": "exit 1"}, "config")
