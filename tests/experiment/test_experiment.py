"""The main job, from the command line's own function to the folder it leaves behind."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import omniformer
from omniformer.config import ConfigError
from omniformer.evaluate import main as evaluate
from omniformer.generate import main as generate
from omniformer.predict import main as predict
from omniformer.recipe import members
from omniformer.train import main as train

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("few_speakers")]

TINY = ["core.d_model=32", "core.n_layers=1", "core.n_heads=2", "report=false"]
WATCHED = {"vision": "test/accuracy", "text": "test/bits_per_byte", "audio": "test/accuracy", "graph": "test/auroc"}


def run(folder: Path, *arguments: str) -> Path:
    train([*arguments, *TINY, f"paths.output_root={folder}"])
    (output,) = (path for path in folder.glob("*/*") if path.is_dir() and not path.is_symlink())
    return output


def numbers(output: Path) -> dict[str, float]:
    return json.loads((output / "metrics.json").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory, few_speakers) -> dict[str, Path]:
    """One finished run of each modality, and of all together, on a few batches."""
    return {name: run(tmp_path_factory.mktemp(name), f"modality={name}", "debug=fast") for name in (*WATCHED, "all")}


@pytest.mark.parametrize("name", WATCHED)
def test_a_run_leaves_a_folder_that_explains_itself(runs, name):
    output = runs[name]
    assert {path.name for path in output.iterdir()} == {
        "config.yaml",
        "metrics.json",
        "metrics.csv",
        *(["predictions.jsonl"] if name != "text" else []),  # a language model says nothing of single samples
        "checkpoints",
        "model",
    }
    found = numbers(output)
    assert math.isfinite(found[WATCHED[name]])
    assert {"parameters", "train/seconds", "train/tokens_per_second", "seed"} <= found.keys()
    assert found["parameters"] == sum(p.numel() for p in omniformer.load(output).model.parameters())


def test_a_joint_run_reports_every_member_under_its_name(runs):
    found = numbers(runs["all"])
    assert {f"{name}/{metric}" for name, metric in WATCHED.items()} <= found.keys()


def test_all_members_of_a_joint_run_share_one_core(runs):
    model = omniformer.load(runs["all"]).model
    assert set(model.heads) == set(WATCHED)
    single = omniformer.load(runs["vision"]).model
    assert {name for name, _ in model.core.named_parameters()} == {name for name, _ in single.core.named_parameters()}


@pytest.mark.parametrize("name", WATCHED)
def test_evaluating_a_run_again_gives_its_numbers_again(runs, name, capsys):
    before = numbers(runs[name])
    evaluate([str(runs[name])])
    after = numbers(runs[name])
    assert after[WATCHED[name]] == pytest.approx(before[WATCHED[name]], rel=1e-5)
    assert WATCHED[name] in capsys.readouterr().out


def test_what_the_tested_weights_say_of_each_sample_lies_in_a_file(runs):
    rows = [json.loads(line) for line in (runs["vision"] / "predictions.jsonl").read_text().splitlines()]
    metrics = numbers(runs["vision"])
    for split in ("val", "test"):
        own = [row for row in rows if row["split"] == split]
        right = sum(row["prediction"] == row["target"] for row in own) / len(own)
        assert right == pytest.approx(metrics[{"val": "best/val/accuracy", "test": "test/accuracy"}[split]], abs=1e-6)
        assert len({row["id"] for row in own}) == len(own)


def test_predict_names_classes_of_files_in_json(runs, tmp_path, capsys):
    from PIL import Image

    image, graph = tmp_path / "digit.png", tmp_path / "graph.json"
    Image.fromarray(torch.randint(0, 256, (28, 28), dtype=torch.uint8).numpy()).save(image)
    graph.write_text(json.dumps({"n_nodes": 3, "edges": [[0, 1], [1, 2]]}))
    predict([str(runs["all"]), str(image), str(graph), "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["member"] for line in lines] == ["vision", "graph"]
    assert sum(lines[0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert set(lines[1]["probabilities"]) == {"connected", "bipartite", "planar", "eulerian", "triangle", "hamiltonian"}


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_predict_reads_every_sound_format(runs, tmp_path, capsys, suffix):
    import soundfile

    sound = tmp_path / f"a{suffix}"
    soundfile.write(sound, torch.randn(8000).mul(0.1).numpy(), 8000)
    predict([str(runs["audio"]), str(sound)])
    assert "audio" in capsys.readouterr().out


def test_generate_continues_the_prompt(runs, capsys):
    generate([str(runs["text"]), "The statement", "--max-new-tokens", "5", "--temperature", "0"])
    assert capsys.readouterr().out.startswith("The statement")


def test_the_same_seed_gives_the_same_run(tmp_path):
    options = ["modality=vision", "debug=fast"]
    first, second = (run(tmp_path / name, *options) for name in ("first", "second"))
    exact = [name for name in numbers(first) if name.startswith(("test/", "val/", "train/loss"))]
    assert [numbers(first)[name] for name in exact] == [numbers(second)[name] for name in exact]
    weights = [omniformer.load(output).model.state_dict() for output in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_says_first_what_it_learns_from_and_for_how_long(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("omniformer.experiment.training.rank_zero_info", said.append)
    run(tmp_path, "modality=vision", "debug=fast", "trainer.max_epochs=2", "trainer.limit_train_batches=3")
    first = next(i for i, message in enumerate(said) if message.startswith("vision: 1,258 samples train"))
    assert "\n  10 classes: 0 125, 1 127" in said[first]
    assert said[first + 1] == "6 steps, 2 epochs of 3; warm-up 1, peak rate 0.003"


def test_a_stopped_run_goes_on_in_its_folder_as_if_nothing_had_happened(tmp_path):
    def weights(output: Path) -> dict[str, torch.Tensor]:
        return omniformer.load(output).model.state_dict()

    options = ["modality=vision", "core.dropout=0.1", "trainer.limit_train_batches=3", "trainer.max_epochs=4"]
    constant = ["optim.schedule=constant", "callbacks.recent.every_minutes=0.0001", "callbacks.best=null"]
    whole = run(tmp_path / "whole", *options, *constant)
    half = run(tmp_path / "half", *options[:-1], "trainer.max_epochs=2", *constant)
    again = run(tmp_path / "half", *options, *constant, f"resume={half}")
    assert again == half
    assert numbers(again)["steps"] == numbers(whole)["steps"] == 12
    resumed, uninterrupted = weights(again), weights(whole)
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in resumed)


def test_what_does_not_go_on_leaves_the_run_as_it_was(runs, capsys):
    folder = runs["vision"]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    fast = ["debug=fast", *TINY, f"paths.output_root={folder.parents[1]}", f"resume={folder}"]
    refusals = {
        "name is 'audio' here and 'vision' there": ["modality=audio", *fast],
        "optim.lr is 0.5 here and 0.003 there": ["modality=vision", *fast, "optim.lr=0.5"],
        "core.d_model is 64 here and 32 there": ["modality=vision", *fast, "core.d_model=64"],
    }
    for said, arguments in refusals.items():
        with pytest.raises(SystemExit) as stop:
            train(arguments)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_numbers_far_from_zero_are_learned_saved_and_predicted(tmp_path):
    words = [("red", 1_000_000.0), ("green", 1_000_300.0), ("blue", 1_000_600.0)]
    texts = [{"text": word, "value": value} for word, value in words * 20]
    (tmp_path / "far.jsonl").write_text("".join(json.dumps(each) + "\n" for each in texts))
    source = ["data=labelled_text_files", f"data.source.train={tmp_path}/far.jsonl", "data.source.label_key=null"]
    options = ["modality=text", *source, "data.source.value_key=value", "task=regression"]
    hasty = ["trainer.max_epochs=20", "optim.lr=0.01", "optim.warmup_steps=5", "data.batch_size=8"]
    output = run(tmp_path / "out", *options, *hasty)
    assert numbers(output)["test/rmse"] < 150
    assert "best/val/rmse" in numbers(output)
    (found,) = omniformer.load(output).predict(["red"])
    assert float(found.values[0]) == pytest.approx(1_000_000, abs=300)


@pytest.mark.quick("vision")
@pytest.mark.parametrize("name", [*WATCHED, "all"])
def test_one_batch_can_be_learnt_by_heart(tmp_path, name):
    hasty = ["trainer.max_epochs=60", "optim.schedule=constant", "optim.lr=0.01", "optim.warmup_steps=10"]
    output = run(tmp_path, f"modality={name}", "debug=overfit", *hasty)
    losses = [
        float(line.split(",")[-1])
        for line in (output / "metrics.csv").read_text().splitlines()
        if ",train/loss," in line
    ]
    floor = {"vision": 0.51, "audio": 0.51, "all": 1.03}.get(name, 0.0)  # what label smoothing leaves
    assert losses[-1] - floor < 0.5 * (losses[0] - floor)


def test_a_member_without_data_is_told_which_key_to_set():
    config = {
        "name": "mine",
        "members": {"a": {"tokenizer": {}, "embedder": {"_target_": "x"}, "data": None, "task": None}},
    }
    with pytest.raises(ConfigError, match=r"members\.a\.tokenizer is not set"):
        members(config)


def test_config_of_a_run_is_plain_yaml_that_composes_the_same(runs):
    config = yaml.safe_load((runs["vision"] / "config.yaml").read_text())
    assert config["core"]["d_model"] == 32
    assert config["tokenizer"]["_target_"] == "omniformer_tokenizers.PatchTokenizer"


@pytest.mark.slow
def test_a_run_begins_from_trained_weights_and_keeps_frozen_ones_and_the_vocabulary(runs, tmp_path):
    first, before = runs["text"], omniformer.load(runs["text"])
    # Other texts, which by themselves would give another vocabulary.
    options = [
        "data=stdlib_code",
        "data.source.max_bytes=400000",
        "model.freeze=['core.*']",
        f"model.pretrained={first}",
    ]
    second = run(tmp_path, "modality=text", "debug=fast", *options)
    after = omniformer.load(second)
    assert after.members["text"].tokenizers["text"].token_bytes == before.members["text"].tokenizers["text"].token_bytes
    old, new = before.model.state_dict(), after.model.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old if name.startswith("core."))
    assert any(not torch.equal(old[name], new[name]) for name in old if name.startswith("embedders."))
    evaluate([str(second)])  # does not look for the first run any more


def test_texts_written_in_the_test_lie_beside_those_expected(tmp_path):
    sizes = ["data.source.n_train=64", "data.source.n_val=8", "data.source.n_test=6", "data.source.gap=4"]
    train(["experiment=long_copy", "debug=fast", *sizes, "core.encoder.n_layers=1", f"paths.output_root={tmp_path}"])
    (output,) = (path for path in tmp_path.glob("*/*") if not path.is_symlink())
    rows = [json.loads(line) for line in (output / "written.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6
    assert all(row["member"] == "long_copy" and len(row["expected"]) == 8 for row in rows)
    assert 0 <= numbers(output)["test/exact_match"] <= 1
    said = [json.loads(line) for line in (output / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["prediction"], row["target"]) for row in said if row["split"] == "test"] == [
        (row["id"], row["written"], row["expected"]) for row in rows
    ]


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=image_folder", "data.source.root=photos"], r"ImageFolder has one class, 'cats', .* add a second one"),
        (["data=vowels"], r"data gives audio \(Vowels\), tokenizer reads vision"),
        (
            ["tokenizer=bpe", "data=python_topics"],
            r"BPETokenizer\) gives vocab_size, axes, embedder Vec.* needs feat",
        ),
        (["task=regression"], r"Regression learns from value, and samples of Digits have label; choose the task"),
        (["data=image_folder", "data.source.root=damaged", "tokenizer=patches"], r"cannot be read as an image"),
        (["trainer.accelerator=gpu"], r"trainer\.accelerator=gpu: torch sees no GPU .*trainer\.accelerator=cpu"),
    ],
)
def test_what_cannot_begin_is_told_in_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, options, message):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    for i in range(10):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / "photos" / "cats" / f"{i}.png")
    (tmp_path / "damaged").mkdir()
    for name in ("cats", "dogs"):
        shutil.copytree(tmp_path / "photos" / "cats", tmp_path / "damaged" / name)
        (tmp_path / "damaged" / name / "1.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit):
        train(options)
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert re.search(message, told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "photos"]


@pytest.fixture
def labelled(tmp_path) -> list[str]:
    rows = [{"text": f"the {animal} number {i}", "label": animal} for i in range(30) for animal in ("cat", "dog")]
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["data=labelled_text_files", f"data.source.train={tmp_path}/labelled.jsonl"]


KARATE = ["data=karate", "tokenizer.node_features=34"]


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("options", "watched"),
    [
        (["modality=text", "task=classification"], "val/accuracy"),
        (["modality=text", "task=causal_lm"], "val/loss"),  # single texts count no bytes
        (["modality=graph", "task=node_classification", *KARATE], "val/accuracy"),
        (["modality=all", "~members.text", "~members.graph"], "val/accuracy"),
    ],
)
def test_the_best_checkpoint_is_that_of_the_metric_of_the_task(tmp_path, labelled, options, watched):
    data = labelled if "modality=text" in options else []
    found = numbers(run(tmp_path / "out", *options, *data, "debug=fast", "callbacks=early_stopping"))
    assert [name for name in found if name.startswith("best/")] == [f"best/{watched}"]
    assert found[f"best/{watched}"] == found[watched]  # after one epoch


@pytest.mark.quick(1)
@pytest.mark.parametrize("callback", ["best", "early_stopping"])
def test_a_metric_that_no_task_reports_is_told_before_training_and_leaves_nothing(tmp_path, labelled, capsys, callback):
    wrong = ["callbacks=early_stopping", f"callbacks.{callback}.monitor=val/bits_per_byte"]
    with pytest.raises(SystemExit):
        run(tmp_path / "out", "modality=text", "task=classification", *labelled, *wrong)
    told = capsys.readouterr().err
    assert (
        f"callbacks.{callback}.monitor: no metric 'val/bits_per_byte'; there are val/accuracy, val/f1, val/loss;"
        in told
    )
    assert not list((tmp_path / "out").glob("*/*"))


@pytest.mark.slow
def test_another_metric_of_the_task_is_watched_the_way_that_it_is_better(tmp_path):
    output = run(tmp_path, "modality=vision", "debug=fast", "callbacks.best.monitor=val/loss", "trainer.max_epochs=2")
    rows = [line.split(",") for line in (output / "metrics.csv").read_text().splitlines() if ",val/loss," in line]
    assert numbers(output)["best/val/loss"] == pytest.approx(min(float(row[-1]) for row in rows))
