"""What `omniformer help` says of keys, groups and options of the shipped configuration."""

import re
import subprocess
import sys

import pytest

from omniformer.help import main


@pytest.fixture
def said(capsys):
    """Asks; returns what was printed, with its line breaks taken away."""

    def said(*arguments):
        main(list(arguments))
        return " ".join(capsys.readouterr().out.split())

    return said


def test_a_key_is_told_with_meaning_type_range_default_value_and_places(said):
    text = said("optim.lr")
    assert text.startswith("optim.lr peak learning rate.")
    assert "accepted a number: above 0" in text
    assert "default 0.001, of omniformer.training.optimizers.AdamW" in text
    assert re.search(r"source omniformer/training/optimizers\.py:\d+ ", text)
    assert "value 0.003 set in conf/modality/vision.yaml:13: lr: 0.003" in text


def test_overrides_choose_the_configuration_and_are_told_as_what_decides(said):
    text = said("optim.lr", "optim=muon", "modality=text", "optim.lr=0.5")
    assert "of omniformer.training.optimizers.Muon" in text
    assert "value 0.5 set in the command line: optim.lr=0.5" in text


def test_keys_of_other_libraries_are_told_as_ours_are(said):
    text = said("trainer.max_epochs")
    assert "Stop training once this number of epochs is reached." in text
    assert "accepted a whole number or null: at least 1" in text
    assert "source lightning/pytorch/trainer/trainer.py:" in text


def test_keys_of_the_whole_configuration_and_of_its_sections_are_told(said):
    assert "keys every random choice of the run." in said("seed")
    assert "the folder of this run" in said("paths.output_dir")
    assert "rows of A and columns of B." in said("model.lora.rank")


def test_a_value_that_refers_to_others_is_told_as_written_and_as_it_is(said):
    assert "value ${paths.output_root}/${name}/${oc.env:OMNIFORMER_RUN_STAMP}, here 'outputs/vision/" in said(
        "paths.output_dir"
    )


@pytest.mark.slow
def test_keys_of_a_joint_run_are_told(said):
    assert "value 8 set in conf/modality/all.yaml" in said("members.text.data.batch_size", "modality=all")


def test_a_part_is_told_with_its_choices_its_keys_and_all_files_that_make_it(said):
    text = said("core.attention")
    assert "core/attention=..., now qk_norm: additive A small network scores each pair (Bahdanau et al. 2014)." in text
    assert "core.attention.bias=false" in text
    assert "and, not set here: d_model, n_heads" in text
    assert "set in conf/optim/adamw.yaml, conf/modality/vision.yaml" in said("optim")


def test_a_group_that_is_no_key_is_told_with_its_choices(said):
    text = said("experiment")
    assert "chosen in conf/train.yaml:" in text
    assert "experiment=..., now none:" in text
    assert "vqa easy-VQA: questions about pictures" in text


def test_an_option_is_told_with_its_comment_and_its_file(said):
    text = said("experiment=vqa")
    assert text.startswith("experiment=vqa easy-VQA: questions about pictures")
    assert "conf/experiment/vqa.yaml: defaults: - override /modality: vision" in text


def test_keys_of_other_commands_are_told(said):
    assert "tokens of a sample." in said("seq_len", "--config-name", "inspect")


def test_own_options_are_told(said, tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "huge.yaml").write_text(
        "# More than we need.\n_target_: omniformer.core.transformer.Transformer\nd_model: 9999\n"
    )
    text = said("core.d_model", "core=huge", "--config-dir", str(tmp_path))
    assert f"value 9999 set in {tmp_path}/core/huge.yaml:3: d_model: 9999" in text
    assert "huge More than we need." in said("core", "--config-dir", str(tmp_path))


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optim.lrr"], "optim.lrr: unknown key of omniformer.training.optimizers.AdamW; did you mean optim.lr?"),
        (["lr"], "lr: unknown key; did you mean optim.lr?"),
        (["optm"], "optm: unknown key; did you mean optim?"),
        (["modalty"], "modalty: unknown key; did you mean modality?"),
        (["callbacks.bst"], "callbacks.bst: unknown key; did you mean callbacks.best? accepted: best, "),
        (["optim.lr.x"], "optim.lr.x: optim.lr is 0.003 in this configuration, so it has no keys"),
        (["tokenizer.patch_size", "modality=all"], "so it has no keys; choose one, such as tokenizer=bpe"),
        (["core=tinny"], "core=tinny: there is no such option; did you mean tiny?"),
        (["optm=muon"], "optm=muon: there is no group 'optm'; did you mean optim?"),
        (["optim.lr", "modality=visoin"], "modality=visoin: there is no such option; did you mean vision?"),
        (["optim.lr", "seed"], "one key or group at a time; received optim.lr and seed"),
        (["seed", "--config-name", "tests"], "--config-name tests: accepted: train, inspect"),
    ],
)
def test_what_there_is_not_gets_the_nearest_and_status_two(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_help_imports_no_heavy_library(tmp_path):
    code = (
        "import sys\nfrom omniformer.help import main\nmain(['optim.lr'])\n"
        "assert not {'torch', 'lightning', 'numpy', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
