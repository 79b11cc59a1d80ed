from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages

import pytest

from omniformer.config.allow import _OWN_AFFAIRS, _ROOMS, SCOPES, NotAllowedError, allowed, allowing, parts, within
from omniformer.config.build import build
from omniformer.config.errors import BuildError, ConfigError
from omniformer.config.signature import signature
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
    "omniformer.config.folder.conf_dir",
    "omniformer.no_such_module.Net",
    # Functions, readers, writers and entry points of our own are no parts.
    "omniformer.load",
    "omniformer.save",
    "omniformer.folder.load",
    "omniformer.evaluate.main",
    "omniformer.experiment.evaluate",
    "omniformer.run_folder.read_run",
    "omniformer.experiment.train",
    "omniformer.recipe.build_model",
    "omniformer.pretrained.load",
    "omniformer.pretrained.files.hub.fetch",
    "omniformer.pretrained.files.companions.write_companions",
    "omniformer.export.write.export",
    "omniformer.inspection.settings.Settings",
    "omniformer.batch.collate",
    "omniformer.data.source.resolve",
    "omniformer.data.download.fetch",
    "omniformer.data.module.OmniDataModule",
    "omniformer.files.durable.write_durably",
    "omniformer.training.checkpoint_io.DurableCheckpointIO",
    "omniformer.training.trainer.build_trainer",
    "omniformer.tasks.module.TrainingModule",
    "omniformer_tokenizers.load",
    "omniformer_tokenizers.encode_corpus",
    "omniformer_tokenizers.Corpus",
    "omniformer_tokenizers.BPETokenizer.from_pretrained",
    "omniformer_tokenizers.SubwordTokenizer.from_file",
    "omniformer_tokenizers.graph.encoding_cache.cached",
    "torch.nn.Module",
    "torch.nn.utils.parametrize.register_parametrization",
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.callbacks.OnExceptionCheckpoint",
    "torchmetrics.text.BERTScore",
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


PARTS = {
    "model": [
        "omniformer.core.Transformer",
        "omniformer.core.rules.Causal",
        "omniformer.core.rules.bigbird",
        "omniformer.embedders.IdEmbedder",
        "omniformer.heads.ClassificationHead",
        "torch.nn.GELU",
    ],
    "run": [
        "omniformer.data.Stream",
        "omniformer.data.Table",
        "omniformer.data.Masked",
        "omniformer.data.ImageJitter",
        "omniformer.data.augment.AudioJitter",
        "omniformer.data.RandAugment",
        "omniformer.data.Chain",
        "omniformer.data.Either",
        "omniformer.tasks.Classification",
        "omniformer.generation.BeamSearch",
        "omniformer_tokenizers.PatchTokenizer",
        "omniformer_tokenizers.augment.flip_signs",
    ],
    "training": [
        "omniformer.training.optimizers.Muon",
        "omniformer.training.ema.EMA",
        "omniformer.training.csv_log.CSVLog",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "lightning.Trainer",
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.loggers.TensorBoardLogger",
        "lightning.pytorch.profilers.SimpleProfiler",
        "lightning.pytorch.strategies.DDPStrategy",
    ],
}


@pytest.mark.parametrize(("first", "target"), [(scope, target) for scope in PARTS for target in PARTS[scope]])
def test_a_part_is_allowed_from_its_own_scope_on(first, target):
    for scope in SCOPES:
        with within(scope):
            if SCOPES.index(scope) >= SCOPES.index(first):
                assert allowed(target).path
            else:
                with pytest.raises(NotAllowedError, match="is not allowed as _target_ in "):
                    allowed(target)


def test_an_inner_scope_never_widens():
    with (
        within("model"),
        within("training"),
        pytest.raises(NotAllowedError, match="in a saved model; accepted: the parts"),
    ):
        allowed("torch.optim.AdamW")


def test_all_parts_that_are_listed_by_name_exist():
    assert all(allowed(target).path for target in parts("training"))


def test_no_part_of_a_model_takes_what_a_folder_may_not_set():
    """The list of arguments is a second wall: the first is that no such part exists. A `Projection` names a place in a
    model, and is none of its parts.
    """
    taking = {}
    for room in _ROOMS["model"]:
        package = import_module(room.prefix.removesuffix("."))
        for found in walk_packages(package.__path__, room.prefix):
            for name in [each for each in vars(import_module(found.name)) if not each.startswith("_")]:
                with suppress(LookupError, NotAllowedError):
                    definition = allowed(f"{found.name}.{name}")
                    if wrong := _OWN_AFFAIRS & signature(definition.path).parameters.keys():
                        taking[definition.path] = wrong
    assert taking == {"omniformer.core.projections.Projection": {"module"}}


@pytest.mark.parametrize("name", ["path", "root", "download", "cache_folder", "url", "module", "allow_targets"])
def test_a_saved_model_sets_nothing_that_opens_fetches_or_imports(name):
    node = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1, name: "x"}
    with within("model"), pytest.raises(BuildError, match=f"{name} opens, writes, fetches or imports"):
        build(node, "core")


def test_nobody_can_allow_more_of_this_project_than_its_parts():
    with allowing(["omniformer", "omniformer.folder", "omniformer_tokenizers"]):
        for target in ("omniformer.folder.load", "omniformer.batch.collate", "omniformer_tokenizers.load"):
            with pytest.raises(NotAllowedError):
                allowed(target)


def test_the_refusal_says_which_list_is_in_force_and_what_to_do():
    with allowing(["toybox"]), within("run"), pytest.raises(NotAllowedError) as caught:
        allowed("torch.optim.AdamW")
    said = str(caught.value)
    assert "in the config.yaml of a saved run" in said and "(now toybox)" in said
    assert "allow_targets=[mypackage] or --allow-targets mypackage" in said


@pytest.mark.parametrize("scope", ["model", "run"])
def test_no_interpolation_of_a_saved_folder_is_resolved(scope, monkeypatch):
    monkeypatch.setenv("SECRET", "swordfish")
    node = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1, "device": "${oc.env:SECRET}"}
    with within(scope), pytest.raises(BuildError, match="no interpolation is resolved") as caught:
        build(node, "core")
    assert "swordfish" not in str(caught.value)


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
