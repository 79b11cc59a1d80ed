import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from omniformer.config import ConfigError, entry_point
from omniformer.config.cli import _newest_of_its_kind, run_stamp


@pytest.fixture
def run(conf, capsys):
    """Runs a command in this process; returns its status, what it printed and the configurations that it received."""

    def run(*arguments, do=lambda config: config["seed"], after_sweep=lambda runs: None):
        received = []

        @entry_point("train", folder=conf, after_sweep=after_sweep)
        def main(config):
            """Learns something."""
            received.append(config)
            return do(config)

        try:
            status, value = 0, main(list(arguments))
        except SystemExit as stop:
            status, value = stop.code, None
        printed = capsys.readouterr()
        return Outcome(status, value, received, printed.out, printed.err)

    return run


class Outcome:
    def __init__(self, status, value, received, out, err):
        self.status, self.value, self.received, self.out, self.err = status, value, received, out, err


def test_the_function_receives_plain_resolved_values(run):
    outcome = run("modality=text", "core=wide", "seed=3")
    (config,) = outcome.received
    assert (outcome.status, outcome.value) == (0, 3)
    assert config["name"] == "text"
    assert config["core"] == {"_target_": "toybox.Core", "d_model": 128, "n_heads": 4}
    assert config["callbacks"]["save"]["dirpath"] == config["paths"]["output_dir"] + "/checkpoints"

    def types(value):
        yield type(value)
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from types(child)

    assert set(types(config)) <= {dict, list, str, int, float, bool, type(None)}


def test_a_run_has_a_folder_named_by_run_and_time(run):
    folder = Path(run().received[0]["paths"]["output_dir"])
    assert folder.is_absolute()
    assert folder.is_dir()
    assert folder.parent == Path.cwd() / "outputs" / "vision"
    assert list(folder.iterdir()) == []


def test_the_folder_of_a_run_can_be_chosen(run):
    assert run("paths.output_dir=here").received[0]["paths"]["output_dir"] == str(Path.cwd() / "here")
    assert run("hydra.run.dir=there").received[0]["paths"]["output_dir"] == str(Path.cwd() / "there")


def test_a_resumed_run_goes_on_in_its_folder(run):
    first = Path(run().received[0]["paths"]["output_dir"])
    (first / "config.yaml").write_text("name: vision")
    (first / "checkpoints").mkdir()
    (first / "checkpoints" / "last.ckpt").write_bytes(b"")
    for resume in (first, first / "checkpoints", first / "checkpoints" / "last.ckpt"):
        config = run(f"resume={resume}").received[0]
        assert config["paths"]["output_dir"] == str(first)
        assert config["callbacks"]["save"]["dirpath"] == f"{first}/checkpoints"
    assert list(first.parent.iterdir()) == [first]


def test_a_checkpoint_that_belongs_to_no_run_starts_a_new_folder(run, tmp_path):
    (tmp_path / "copied.ckpt").write_bytes(b"")
    assert "outputs" in run(f"resume={tmp_path / 'copied.ckpt'}").received[0]["paths"]["output_dir"]


@pytest.mark.parametrize("spelling", ["trainer.log_every_n_steps=7", "+trainer.log_every_n_steps=7"])
def test_a_parameter_that_no_file_mentions_can_be_set(run, spelling):
    assert run(spelling).received[0]["trainer"]["log_every_n_steps"] == 7


def test_groups_may_be_given_with_a_plus(run):
    assert run("+modality=text", "+debug=fast").received[0]["trainer"]["limit_train_batches"] == 3


def test_own_groups_and_experiments_come_from_a_config_folder(run, tmp_path):
    own = tmp_path / "mine"
    (own / "experiment").mkdir(parents=True)
    (own / "core").mkdir()
    (own / "core" / "huge.yaml").write_text("_target_: toybox.Core\nd_model: 256\n")
    (own / "experiment" / "big.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /core: huge\n  - override /modality: text\nseed: 5\n"
    )
    (config,) = run("--config-dir", str(own), "experiment=big").received
    assert (config["seed"], config["core"]["d_model"], config["name"]) == (5, 256, "text")
    assert "huge" in run("--config-dir", str(own), "--help").out
    assert "d_model: 256" in run("--config-dir", str(own), "experiment=big", "--cfg", "job").out


EVIL = """# @package _global_
allow_targets: [subprocess]
callbacks:
  evil:
    _target_: subprocess.Popen
    args: [touch, pwned]
"""


@pytest.mark.parametrize("more", [(), ("-m",), ("--cfg", "job"), ("allow_targets=[toybox]",)])
def test_a_file_cannot_allow_what_it_names(run, tmp_path, more):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "evil.yaml").write_text(EVIL)
    outcome = run("--config-dir", str(tmp_path / "mine"), "experiment=evil", *more)
    assert outcome.status == 2 and outcome.received == []
    assert "allow_targets: a file of the configuration sets ['subprocess']" in outcome.err or more[:1] == (
        "allow_targets=[toybox]",
    )
    assert not Path("pwned").exists()


def test_a_file_cannot_pretend_to_be_the_command_line(run, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    hidden = "hydra:\n  overrides:\n    task: ['++allow_targets=[subprocess]']\n"
    (tmp_path / "mine" / "experiment" / "evil.yaml").write_text(EVIL + hidden)
    outcome = run("--config-dir", str(tmp_path / "mine"), "experiment=evil")
    assert outcome.status == 2 and outcome.received == []


def test_what_the_user_types_counts(run, tmp_path):
    (tmp_path / "own" / "second.py").write_text("class Part:\n    pass\n")
    (config,) = run("allow_targets=[toybox,second]", "core.part={_target_: second.Part}").received
    assert config["allow_targets"] == ["toybox", "second"]
    outcome = run("allow_targets=['*']")
    assert outcome.status == 2 and "allow_targets: received '*', accepted: names of packages" in outcome.err


def test_a_sweep_gives_each_run_a_folder_and_returns_the_metric(run):
    outcome = run("-m", "seed=1,2", "modality=vision,text")
    assert [(config["seed"], config["name"]) for config in outcome.received] == [
        (1, "vision"),
        (1, "text"),
        (2, "vision"),
        (2, "text"),
    ]
    folders = [Path(config["paths"]["output_dir"]) for config in outcome.received]
    assert [folder.name for folder in folders] == ["0", "1", "2", "3"]
    assert {folder.parent.parent for folder in folders} == {Path.cwd() / "outputs" / "sweeps"}
    assert outcome.value == 2


@pytest.mark.slow
def test_a_sweep_ends_with_its_folders_and_what_was_set_for_each(run):
    told = []
    outcome = run("-m", "seed=1,2", "modality=text", after_sweep=told.append)
    (runs,) = told
    assert [str(folder) for folder, _ in runs] == [config["paths"]["output_dir"] for config in outcome.received]
    assert [settings for _, settings in runs] == [["seed=1", "modality=text"], ["seed=2", "modality=text"]]
    run("seed=1", after_sweep=told.append)
    assert len(told) == 1  # a single run is no sweep


def test_two_runs_in_a_row_do_not_share_a_folder(run):
    first, second = (run().received[0]["paths"]["output_dir"] for _ in range(2))
    assert first != second


MISTAKES = [
    (["modality=visoin"], "modality=visoin: there is no such option; did you mean vision? accepted: text, vision"),
    (["modalty=text"], "modalty: unknown key; did you mean modality?"),
    (["+modalty=text"], "modalty: unknown key; did you mean modality?"),
    (["sed=1"], "sed: unknown key; did you mean seed?"),
    (["trainer.max_epoch=5"], "Trainer; did you mean trainer.max_epochs?"),
    (["+trainer.max_epoch=5"], "did you mean trainer.max_epochs?"),
    (["trainr.max_epochs=5"], "trainr: unknown key; did you mean trainer?"),
    (["optim.lr=abc"], "optim.lr: received 'abc', accepted: a number: above 0"),
    (["trainer.max_epochs=-1"], "trainer.max_epochs: received -1, accepted: a whole number or null: at least 1"),
    (["core.n_heads=5"], "core.n_heads=5 does not divide core.d_model=64; choose one of 1, 2, 4, 8, 16, 32, 64"),
    (["data_root=${nowhere}"], "data_root: Interpolation key 'nowhere' not found"),
    (["name=???"], "name: must be set"),
    (["core.d_model=???"], "core.d_model: must be set"),
    (["text"], "text: Error parsing override 'text'; accepted: key=value"),
    (["core.d_model=[1,"], "core.d_model=[1,: "),
    (["extra/group=x"], "extra/group"),
    (["experiment=mine"], "there is no experiment/mine.yaml yet"),
    (["callbacks.bad._target_=os.system"], "callbacks.bad._target_: 'os.system' is not allowed as _target_"),
    (["--config-dir", "nowhere"], "nowhere' not found"),
    (["-m", "seed=1,2", "optim.lr=abc"], "optim.lr: received 'abc'"),
    (["-m", "seed=1,2", "paths.output_dir=x"], "paths.output_dir: each run of a sweep has a folder of its own"),
    (["--cfg", "job", "optim.lr=abc"], "optim.lr: received 'abc'"),
    (["--cfg", "job", "nonsense"], "nonsense: "),
]


@pytest.mark.quick(8)
@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(each[0]) for each in MISTAKES])
def test_a_mistake_ends_before_anything_runs_with_one_message(run, arguments, message):
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.received == []
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_mistake_leaves_no_folder_behind(run, tmp_path):
    run("optim.lr=abc")
    run("optim.lr=abc", f"paths.output_root={tmp_path}/other/place")
    assert list(Path.cwd().iterdir()) == []
    assert list((tmp_path / "other" / "place" / "vision").iterdir()) == []


def test_a_mistake_removes_no_folder_that_holds_something(run):
    Path("outputs/vision").mkdir(parents=True)
    Path("outputs/vision/notes.txt").write_text("mine")
    run("optim.lr=abc")
    assert [path.name for path in Path("outputs/vision").iterdir()] == ["notes.txt"]


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# @package _global_\ntrainer:\n  max_epoch: 3\n", "trainer.max_epoch: unknown key"),
        ("# @package _global_\ntrainr:\n  max_epochs: 3\n", "trainr: unknown key; did you mean trainer?"),
        ("# @package _global_\noptim:\n  lr: fast\n", "optim.lr: received 'fast'"),
        ("# @package _global_\ndefaults:\n  - override /core: huge\n", "core=huge: there is no such option"),
        ("# @package _global_\nseed: [1\n", "not valid YAML"),
    ],
)
def test_a_mistake_in_a_file_is_told_as_one_on_the_line(run, tmp_path, text, message):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "bad.yaml").write_text(text)
    outcome = run("--config-dir", str(tmp_path / "mine"), "experiment=bad")
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_errors_of_a_run_end_with_status_one(run):
    def fail(config):
        raise FileNotFoundError(f"no folder {config['data_root']!r}")

    outcome = run(do=fail)
    assert outcome.status == 1
    assert "error: no folder 'data'" in outcome.err
    assert "Traceback" not in outcome.err


def test_an_interrupt_ends_with_status_130(run):
    def interrupt(config):
        raise KeyboardInterrupt

    assert run(do=interrupt).status == 130


def test_own_targets_can_be_built_while_the_function_runs(run):
    from omniformer.config import build

    assert run(do=lambda config: build(config["core"], "core").d_model).value == 64


def test_help_names_groups_options_and_five_examples(run):
    text = run("--help").out
    assert text.startswith("Learns something.")
    assert "core       small, wide" in text
    assert "debug      fast, overfit, profile" in text
    assert text.split("examples:")[1].count("modality=") >= 5


def test_the_composed_configuration_is_printed_and_nothing_runs(run):
    outcome = run("--cfg", "job", "seed=4")
    assert "seed: 4" in outcome.out
    assert outcome.received == []


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("more", "shown"), [(["--package", "core"], "# @package core\n"), (["--resolve"], "output_root: outputs\n")]
)
def test_a_part_of_it_and_references_that_are_followed_are_printed_too(run, more, shown):
    outcome = run("--cfg", "job", *more)
    assert shown in outcome.out
    assert "${" not in outcome.out
    assert outcome.received == []


@pytest.mark.quick(2)
@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["optim.lr=abc"], ["core.n_heads=5"]])
def test_questions_and_mistakes_import_no_heavy_library(conf, arguments):
    code = (
        "import sys, pathlib\nfrom omniformer.config import entry_point\n"
        f"sys.path.append({str(conf.parent / 'own')!r})\n"
        f"main = entry_point('train', folder=pathlib.Path({str(conf)!r}))(lambda config: None)\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'lightning', 'torchvision', 'torch_geometric', 'numpy', 'sklearn', 'toybox'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_processes_that_lightning_starts_share_the_stamp_of_their_starter():
    assert run_stamp({"LOCAL_RANK": "1", "OMNIFORMER_RUN_STAMP": "monday"}) == "monday"


def test_a_stamp_left_over_from_another_run_is_not_used():
    assert run_stamp({"OMNIFORMER_RUN_STAMP": "monday"}) != "monday"


def test_cluster_launchers_name_the_run():
    task = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "2", "SLURM_PROCID": "3"}
    assert run_stamp({**task, "SLURM_STEP_NUM_TASKS": "4"}) == "slurm-77-2"
    assert not run_stamp({**task, "SLURM_STEP_NUM_TASKS": "1"}).startswith("slurm")
    assert run_stamp({"LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "big"}) == "run-big"
    with pytest.raises(ConfigError, match="--rdzv-id"):
        run_stamp({"LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "none"})


def test_the_environment_is_left_as_it_was(run, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    before = list(sys.argv)
    run("seed=1")
    assert sys.argv == before
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.parametrize("found", [True, False])
def test_resume_auto_asks_for_the_newest_run_of_the_same_name_and_says_what_it_does(tmp_path, capsys, found):
    for name in ("vision/monday", "vision/tuesday", "audio/monday"):
        (tmp_path / name).mkdir(parents=True)
    composed = OmegaConf.create({"paths": {"output_root": str(tmp_path)}, "name": "vision"})
    asked = []

    def newest_run(folders, config):
        assert config == composed
        asked.extend(folders)
        return tmp_path / "vision" / "monday" if found else None

    chosen = _newest_of_its_kind(composed, str(tmp_path / "here"), newest_run)
    assert asked == [tmp_path / "here", tmp_path / "vision" / "monday", tmp_path / "vision" / "tuesday"]
    assert chosen == (str(tmp_path / "vision" / "monday") if found else None)
    assert ("goes on with" if found else "begins anew: ") in capsys.readouterr().err
