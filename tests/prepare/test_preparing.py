"""From files to an experiment that composes, is valid and learns, for a table of each kind."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
import soundfile
import torch
import yaml
from PIL import Image

from omniformer.prepare.__main__ import main
from omniformer.prepare.preparing import prepare
from omniformer.train import main as train

N = 40
TEXTS = [f"film {i} is {'fine and good' if i % 2 else 'dull and bad'}" for i in range(N)]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def lines(path: Path, **columns) -> Path:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pictures(folder: Path, names=None) -> list[str]:
    names = names or [f"{i}.png" for i in range(N)]
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), (6 * i, 0, 255 - 6 * i)).save(folder / name)
    return names


def sounds(folder: Path) -> list[str]:
    for i in range(N):
        soundfile.write(folder / f"{i}.wav", (torch.rand(1600) - 0.5).numpy(), 8000)
    return [f"{i}.wav" for i in range(N)]


LABELS = ["good" if i % 2 else "bad" for i in range(N)]
NUMBERS = [i * 1.5 for i in range(N)]
GRAPHS = [{"n_nodes": 3, "edges": [[0, 1], [1, 2]], "node_features": [[i % 4], [0], [1]]} for i in range(N)]
YES = [i % 2 for i in range(N)]
MADE = {
    "texts": (lambda d: lines(d / "t.jsonl", review=TEXTS, mood=LABELS), [], "classification"),
    "pictures": (lambda d: lines(d / "p.jsonl", photo=pictures(d), price=NUMBERS), [], "regression"),
    "class folders": (lambda d: pictures(d, [f"{LABELS[i]}/{i}.png" for i in range(N)]) and d, [], "classification"),
    "sounds": (lambda d: lines(d / "s.jsonl", sound=sounds(d), kind=LABELS), [], "classification"),
    "transcripts": (lambda d: lines(d / "s.jsonl", sound=sounds(d), said=TEXTS), ["said"], "ctc"),
    "graphs": (lambda d: lines(d / "g.jsonl", graph=GRAPHS, a=YES, b=YES[::-1]), [], "graph_labels"),
    "series": (
        lambda d: lines(d / "x.jsonl", x=[[i, 1.0, 2.0 * i] for i in range(N)], kind=LABELS),
        [],
        "classification",
    ),
    "captions": (lambda d: lines(d / "c.jsonl", photo=pictures(d), caption=TEXTS), ["caption"], "captioning"),
    "pairs": (lambda d: lines(d / "c.jsonl", photo=pictures(d), caption=TEXTS), [], "contrastive"),
    "several": (lambda d: lines(d / "m.jsonl", photo=pictures(d), note=TEXTS, kind=LABELS), [], "classification"),
    "translation": (lambda d: lines(d / "l.jsonl", en=TEXTS, de=TEXTS[::-1]), ["de"], "seq2seq"),
    "words": (
        lambda d: lines(
            d / "w.jsonl", words=[["Ada", f"w{i}"] for i in range(N)], tags=[["P", "O"], ["O", "P"]] * (N // 2)
        ),
        [],
        "token_classification",
    ),
    "spans": (
        lambda d: lines(
            d / "q.jsonl",
            question=[f"what is film {i}?" for i in range(N)],
            context=TEXTS,
            answer=[each.split()[-1] for each in TEXTS],
        ),
        ["answer"],
        "span_prediction",
    ),
}


@pytest.mark.quick(4)
@pytest.mark.parametrize("kind", MADE)
def test_data_of_each_kind_become_an_experiment_that_is_valid(kind, tmp_path, capsys):
    make, targets, task = MADE[kind]
    (tmp_path / "data").mkdir()
    found = prepare(make(tmp_path / "data"), targets=targets, out=tmp_path / "conf", name="mine")
    assert found.findings["proposal"]["task"] == task
    assert found.findings["splits"]["train"] >= 0.6 * N
    assert not found.findings["problems"] and not found.findings["unreadable"]
    assert json.loads(json.dumps(found.findings, allow_nan=False)) and found.told()
    train(["--config-dir", str(tmp_path / "conf"), "experiment=mine", "--cfg", "job"])
    composed = yaml.safe_load(capsys.readouterr().out)
    assert composed["name"] == "mine"
    assert composed["data"]["source"]["columns"] == {
        name: each["role"] for name, each in found.findings["columns"].items() if each["role"]
    }


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("texts", {"tokenizer": "SpelledWordTokenizer", "embedder": "NGramEmbedder"}),
        ("words", {"tokenizer": "SpelledWordTokenizer", "embedder": "NGramEmbedder"}),
        ("pictures", {"tokenizer": "PatchTokenizer", "embedder": "GridStem"}),
        ("sounds", {"tokenizer": "SpectrogramTokenizer", "embedder": "VectorEmbedder", "rotary": "one_axis"}),
        ("transcripts", {"tokenizer": "SpectrogramTokenizer", "embedder": "VectorEmbedder", "rotary": "one_axis"}),
        ("graphs", {"tokenizer": "GraphTokenizer", "embedder": "NodeEmbedder", "block": "messages"}),
    ],
)
def test_each_kind_gets_the_parts_that_were_best_for_few_samples(kind, parts, tmp_path):
    make, targets, _ = MADE[kind]
    (tmp_path / "data").mkdir()
    prepared = yaml.safe_load(
        prepare(make(tmp_path / "data"), targets=targets, out=tmp_path, name="mine").file.read_text()
    )
    found = {name: next(iter(prepared[name].values()))["_target_"].split(".")[-1] for name in ("tokenizer", "embedder")}
    groups = {key: value for each in prepared["defaults"] if each != "_self_" for key, value in each.items()}
    rotary = {"rotary"} if kind in ("sounds", "transcripts") else set()
    found |= {
        name: groups[f"override /core/{name}"] for name in {"block"} | rotary if f"override /core/{name}" in groups
    }
    assert found == parts
    assert prepared["tokenizer"].get("text", {}).get("lowercase", True) == (kind != "words")  # capitals tell names


@pytest.mark.parametrize(("mode", "flip"), [("RGB", {"flip": 0.5}), ("L", {})])
def test_few_pictures_are_seen_a_little_elsewhere_each_time_and_mirrored_in_colour(mode, flip, tmp_path):
    for name in pictures(tmp_path / "data", [f"{LABELS[i]}/{i}.png" for i in range(N)]):
        Image.open(tmp_path / "data" / name).convert(mode).save(tmp_path / "data" / name)
    made = prepare(tmp_path / "data", out=tmp_path / "conf", name="mine")
    prepared = yaml.safe_load(made.file.read_text())
    jitter = {"_target_": "omniformer.data.ImageJitter", "shift": 0.1, "rotate": 10.0, "scale": 0.1}
    assert prepared["data"]["augment"] == jitter | flip
    assert any("set data.augment.flip=0" in note for note in made.findings["notes"]) is bool(flip)
    assert prepared["data"]["cache"] is True
    assert prepared["steps_per_epoch"] * prepared["trainer"]["max_epochs"] == 800
    assert prepared["optim"]["lr_of"]["core.*"] == prepared["optim"]["lr"] / 10
    assert prepared["task"]["head"] == {"dropout": 0.3}


def test_pictures_of_many_classes_are_learned_fast_and_without_dropout(tmp_path):
    pictures(tmp_path / "data", [f"{split}/kind{i % 50}/{i}.png" for split in ("train", "val") for i in range(100)])
    prepared = yaml.safe_load(prepare(tmp_path / "data", out=tmp_path / "conf", name="mine").file.read_text())
    assert prepared["optim"] == {"lr": 0.006, "weight_decay": 0.1, "lr_of": {"core.*": 0.0006}}
    assert prepared["task"] == {"head": {"dropout": 0.0}, "label_smoothing": 0.0}
    assert prepared["core"]["dropout"] == 0.0


def test_large_pictures_shrink_as_is_said_and_how_many_lose_their_sides(tmp_path):
    names = pictures(tmp_path / "data", [f"{LABELS[i]}/{i}.png" for i in range(N)])
    for i, name in enumerate(names):
        Image.new("RGB", (300, 200) if i < 10 else (200, 200), (6 * i, 0, 255 - 6 * i)).save(tmp_path / "data" / name)
    made = prepare(tmp_path / "data", out=tmp_path / "conf", name="mine")
    assert yaml.safe_load(made.file.read_text())["tokenizer"]["vision"]["image_size"] == [96, 96]
    shrunk, cut = made.findings["notes"][:2]
    assert shrunk.startswith("40 of 40 pictures, up to 300 pixels long, shrink to 96 x 96; ")
    assert "tokenizer.vision.image_size=[192,192]" in shrunk
    assert cut.startswith("10 of 40 pictures are of another shape") and "tokenizer.vision.resize=stretch" in cut


def test_grey_pictures_shrink_further_than_those_in_colour(tmp_path):
    names = pictures(tmp_path / "data", [f"{LABELS[i]}/{i}.png" for i in range(N)])
    for i, name in enumerate(names):
        Image.new("L", (200, 200), 6 * i).save(tmp_path / "data" / name)
    made = prepare(tmp_path / "data", out=tmp_path / "conf", name="mine")
    assert yaml.safe_load(made.file.read_text())["tokenizer"]["vision"]["image_size"] == [64, 64]


def test_pictures_of_several_shapes_are_brought_to_the_middle_one_not_to_one_that_none_of_them_has(tmp_path):
    names = pictures(tmp_path / "data", [f"{LABELS[i]}/{i}.png" for i in range(N)])
    for i, name in enumerate(names):  # the middle height is 256, the middle width 512
        side = [(256, 256), (512, 256), (512, 512)][i % 3] if i else (512, 256)
        Image.new("RGB", side, (6 * i, 0, 255 - 6 * i)).save(tmp_path / "data" / name)
    made = prepare(tmp_path / "data", out=tmp_path / "conf", name="mine")
    assert yaml.safe_load(made.file.read_text())["tokenizer"]["vision"]["image_size"] == [96, 96]


def class_folders_of_sounds(folder, seconds, rate):
    for i in range(N):
        (folder / LABELS[i]).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / LABELS[i] / f"{i}.wav", (torch.rand(int(seconds * rate)) - 0.5).numpy(), rate)
    return folder


@pytest.mark.parametrize(("rate", "n_mels", "hop"), [(16_000, 64, 320), (8_000, 32, 160)])
def test_kinds_of_long_sounds_are_read_as_pictures_with_stripes_hidden(rate, n_mels, hop, tmp_path):
    made = class_folders_of_sounds(tmp_path / "data", 3.0, rate)
    prepared = yaml.safe_load(prepare(made, out=tmp_path / "conf", name="mine").file.read_text())
    tokenizer, embedder = (prepared[name]["audio"] for name in ("tokenizer", "embedder"))
    assert (tokenizer["n_mels"], tokenizer["hop_length"], tokenizer["top_db"]) == (n_mels, hop, 80)
    assert tokenizer["frames_per_token"] == tokenizer["bands_per_token"] == 16
    assert embedder["_target_"] == "omniformer.embedders.GridStem"
    assert prepared["data"]["augment_tokens"]["n_mels"] == n_mels
    assert prepared["task"]["head"]["pool"]["_target_"] == "omniformer.heads.StatisticsPool"
    assert prepared["optim"]["lr_of"]["core.*"] == prepared["optim"]["lr"] / 10
    assert {"override /core/rotary": "one_axis"} not in prepared["defaults"]  # a time and a place among the bands


def test_short_sounds_of_different_lengths_are_taken_for_words_and_stretched_as_is_said(tmp_path):
    made = class_folders_of_sounds(tmp_path / "data", 0.4, 8_000)
    for i, file in enumerate(sorted(made.rglob("*.wav"))):
        soundfile.write(file, torch.rand(2_000 + 100 * i).numpy() - 0.5, 8_000)
    found = prepare(made, out=tmp_path / "conf", name="mine")
    prepared = yaml.safe_load(found.file.read_text())
    tokenizer, pool = prepared["tokenizer"]["audio"], prepared["task"]["head"]["pool"]
    assert (tokenizer["stretch_to"], tokenizer["frames_per_token"]) == (32, 2)
    assert pool == {"_target_": "omniformer.heads.FlatPool", "_partial_": True, "n_tokens": 16}
    assert prepared["data"]["augment"]["_target_"] == "omniformer.data.AudioJitter" and not prepared["data"]["cache"]
    assert any("stretched to 32 frames; where words stand anywhere" in note for note in found.findings["notes"])


def test_short_sounds_of_one_length_in_which_a_word_stands_anywhere_are_not_stretched(tmp_path):
    made = class_folders_of_sounds(tmp_path / "data", 1.0, 8_000)
    prepared = yaml.safe_load(prepare(made, out=tmp_path / "conf", name="mine").file.read_text())
    assert "stretch_to" not in prepared["tokenizer"]["audio"] and "head" not in prepared.get("task", {})


@pytest.mark.parametrize(("rows", "steps", "slow"), [(N, 800, 4e-5), (8_020, 1_500, 4e-4)])
def test_classes_of_texts_are_learned_from_bags_that_lack_words_by_a_slow_core(rows, steps, slow, tmp_path):
    texts = [f"film {i} is {'fine and good' if i % 2 else 'dull and bad'}" for i in range(rows)]
    splits = ["train" if i < rows - 20 else "val" if i % 4 < 2 else "test" for i in range(rows)]
    moods = ["good" if i % 2 else "bad" for i in range(rows)]
    made = lines(tmp_path / "t.jsonl", review=texts, mood=moods, split=splits)
    found = prepare(made, out=tmp_path / "conf", name="mine")
    prepared = yaml.safe_load(found.file.read_text())
    assert prepared["embedder"]["text"]["ngram_dropout"] == 0.5
    assert prepared["core"]["final_norm"] is False and prepared["task"]["head"]["norm"]["_partial_"]
    assert prepared["optim"]["lr"] == 0.004 and prepared["optim"]["lr_of"] == {"core.*": slow}
    assert prepared["task"]["label_smoothing"] == 0
    assert prepared["steps_per_epoch"] * prepared["trainer"]["max_epochs"] == steps
    embedder = "NGramEmbedder(dropout=0.3, init_std=0.15, ngram_dropout=0.5)"
    assert f"{embedder}\n  rate 0.004, of core.* {slow:g}" in found.told()


def test_a_split_that_no_row_is_in_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    found = prepare(MADE["graphs"][0](tmp_path / "data"), out=tmp_path / "conf", name="mine")
    assert found.findings["splits"]["val"] == 0  # the 40 rows hold four different graphs
    (note,) = found.findings["notes"]
    assert note.startswith("no row is in val: nothing is measured there; give more rows")


@pytest.mark.parametrize("target", [NUMBERS, LABELS], ids=["numbers", "classes"])
def test_what_is_said_of_graphs_is_read_from_sums_over_their_nodes(tmp_path, target, monkeypatch):
    made = lines(tmp_path / "g.jsonl", graph=GRAPHS, y=target)
    prepared = yaml.safe_load(prepare(made, out=tmp_path / "conf", name="mine").file.read_text())
    assert prepared["task"]["head"]["pool"]["_target_"] == "omniformer.heads.DenseSumPool"
    assert prepared["task"]["rule"]["_target_"] == "omniformer.core.rules.any_of"
    monkeypatch.setattr("omniformer.prepare.proposal._SUMMED", 2)  # larger graphs have means
    larger = yaml.safe_load(prepare(made, out=tmp_path / "conf", name="larger").file.read_text())
    assert ("head" in larger["task"]) == (target is NUMBERS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MADE)
def test_what_was_prepared_learns(kind, tmp_path):
    make, targets, _ = MADE[kind]
    (tmp_path / "data").mkdir()
    prepare(make(tmp_path / "data"), targets=targets, out=tmp_path / "conf", name="mine")
    options = ["debug=fast", f"paths.output_root={tmp_path / 'runs'}"]
    train(["--config-dir", str(tmp_path / "conf"), "experiment=mine", *options])
    (metrics,) = (tmp_path / "runs").glob("*/latest/metrics.json")
    assert any(name.startswith("test/") for name in json.loads(metrics.read_text()))


@pytest.mark.parametrize(("said", "frames"), [("", 4), ("two hundred and ", 1)])
def test_a_token_of_sound_leaves_two_for_each_character_that_is_to_be_written(said, frames, tmp_path):
    texts = [said + "abcdefgh"[i % 8] for i in range(N)]
    made = lines(tmp_path / "s.jsonl", sound=sounds(tmp_path), said=texts)
    file = prepare(made, columns={"said": "answer.text"}, out=tmp_path / "conf", name="mine").file
    written = yaml.safe_load(file.read_text())
    assert written["tokenizer"]["audio"]["frames_per_token"] == frames
    assert written["optim"] == {"lr": 0.002, "weight_decay": 0.1}  # the warm-up is a share of the run, by default


def test_the_command_prepares_tells_and_trains(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "reviews.jsonl", review=TEXTS, mood=LABELS)
    trained = []
    monkeypatch.setattr("omniformer.train.main", trained.append)
    main(["reviews.jsonl", "--json", "found.json", "--train"])
    told = capsys.readouterr().out
    for said in ("review  text", "a trivial answer scores accuracy 0.5 on test", "core tiny", "my_conf/reviews.html"):
        assert said in told
    assert "omniformer train --config-dir my_conf experiment=reviews" in told
    assert trained == [["--config-dir", "my_conf", "experiment=reviews"]]
    assert json.loads(Path("found.json").read_text())["columns"]["mood"]["role"] == "label"
    shown = Path("my_conf/reviews.html").read_text()
    assert shown.count("<h4>") == 12
    for mood in ("fine and good", "dull and bad"):
        assert re.search(rf"{mood}</pre><h4>[^<]+</h4><p>{mood.split()[-1]}<", shown)
    with pytest.raises(SystemExit):
        main(["reviews.jsonl"])
    assert "my_conf/experiment/reviews.yaml is there; choose another --name" in capsys.readouterr().err
    main(["reviews.jsonl", "--overwrite", "--columns", "{mood: answer.text}"])
    assert "task seq2seq" in capsys.readouterr().out


def test_a_name_that_an_experiment_has_that_comes_along_is_not_taken(tmp_path):
    made = lines(tmp_path / "esol.jsonl", review=TEXTS, mood=LABELS)
    assert prepare(made, out=tmp_path / "conf").name == "my_esol"
    with pytest.raises(ValueError, match="--name vqa is an experiment that comes along; choose another one"):
        prepare(made, out=tmp_path / "conf", name="vqa")


def test_a_name_that_modules_keep_for_themselves_is_not_taken(tmp_path):
    made = lines(tmp_path / "items.jsonl", review=TEXTS, mood=LABELS)
    assert prepare(made, out=tmp_path / "conf").name == "my_items"
    with pytest.raises(
        ValueError, match="--name half is a word that modules keep for themselves; choose one such as my_half"
    ):
        prepare(made, out=tmp_path / "conf", name="half")


def test_rows_that_cannot_be_read_are_named_and_passed_over(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    names = pictures(tmp_path / "data")
    (tmp_path / "data" / "3.png").write_bytes(b"no picture")
    path = lines(tmp_path / "data" / "p.jsonl", photo=[*names[:-1], "missing.png"], kind=LABELS)
    found = prepare(path, out=tmp_path / "conf", name="mine")
    (problem,) = found.findings["problems"]
    assert "line 40, column 'photo': there is no file 'missing.png'" in problem
    (unreadable,) = found.findings["unreadable"]
    assert "3.png" in unreadable
    data = yaml.safe_load(found.file.read_text())["data"]
    assert data["on_error"] == "skip" and data["max_bad_fraction"] >= 1 / 40


def test_a_picture_of_several_rows_that_may_part_is_told_unless_they_have_a_group(tmp_path):
    names = pictures(tmp_path)[: N // 2] * 2
    path = lines(tmp_path / "p.jsonl", photo=names, caption=TEXTS, shot=names)
    (note,) = prepare(path, out=tmp_path / "conf", columns={"shot": None}).findings["notes"]
    assert note.startswith("photo holds 20 different ones in 40 rows") and "{COLUMN: group}" in note
    assert not prepare(path, out=tmp_path / "kept", columns={"shot": "group"}).findings["notes"]


def test_too_many_bad_rows_are_an_error_that_says_what_to_do(tmp_path):
    names = pictures(tmp_path)[:30] + [f"missing{i}.png" for i in range(10)]
    with pytest.raises(
        ValueError, match=r"10 problems for 40 rows, more than 5%: .*line 31, column 'photo'.*--columns"
    ):
        prepare(lines(tmp_path / "p.jsonl", photo=names, kind=LABELS), out=tmp_path / "conf")
    assert not (tmp_path / "conf").exists()


def test_a_table_of_which_nothing_is_to_be_predicted_is_told_what_to_type(tmp_path):
    with pytest.raises(ValueError, match="nothing is to be predicted of text: name a column with --target NAME"):
        prepare(lines(tmp_path / "t.jsonl", text=TEXTS), out=tmp_path / "conf")
    with pytest.raises(ValueError, match=r"all cells of label are the same, of which nothing can be learned; name a "):
        prepare(lines(tmp_path / "one.jsonl", text=TEXTS, label=["good"] * N), out=tmp_path / "conf")
    with pytest.raises(ValueError, match=r"text that is to be written, with --target, of 'en', 'de'$"):
        prepare(lines(tmp_path / "two.jsonl", en=TEXTS, de=TEXTS[::-1]), out=tmp_path / "conf")


def test_an_empty_cell_of_tags_is_said_to_be_no_answer(tmp_path):
    tags = [None if i % 4 == 0 else ";" if i % 4 == 1 else "a;b" for i in range(N)]
    found = prepare(lines(tmp_path / "t.jsonl", text=TEXTS, tags=tags), out=tmp_path / "conf").findings
    (note,) = found["notes"]
    assert note.startswith("tags is empty in 10 rows, which count as not answered; where that means none of the names,")
    assert sum(found["splits"].values()) == N and 0 < found["share_of_yes"]["train"]["a"] < 1


def test_how_rows_are_split_is_said(tmp_path):
    path = lines(tmp_path / "t.jsonl", text=TEXTS, kind=LABELS, who=[i // 4 for i in range(N)])
    found = prepare(path, out=tmp_path / "conf", columns={"who": "group"}).findings
    assert found["split_by"] == "by the hash of their group, each class alike"
    for name in ("train", "test"):
        lines(tmp_path / f"{name}.jsonl", text=[f"{name} {each}" for each in TEXTS], kind=LABELS)
    (tmp_path / "t.jsonl").unlink()
    assert (
        prepare(tmp_path, out=tmp_path / "conf").findings["split_by"] == "as the files say; val is taken from training"
    )


@pytest.mark.parametrize(
    ("names", "split_by"),
    [([], "by the hash of what rows hold, each class alike"), (["train", "test"], "as the files say; val is taken")],
)
def test_a_saved_set_says_its_split_or_none(tmp_path, names, split_by):
    table = pa.table({"text": TEXTS, "kind": LABELS})
    for folder in [tmp_path / name for name in names] or [tmp_path]:
        folder.mkdir(exist_ok=True)
        (folder / "dataset_info.json").write_text("{}")
        with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as file:
            file.write_table(table)
        table = table.set_column(0, "text", [[f"another {each}" for each in TEXTS]])
    if names:
        (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": names}))
    assert prepare(tmp_path, out=tmp_path / "conf", name="mine").findings["split_by"].startswith(split_by)


def test_splits_without_a_row_are_told(tmp_path):
    few = lines(tmp_path / "t.jsonl", text=TEXTS[:3], kind=LABELS[:3])
    (note,) = prepare(few, out=tmp_path / "conf").findings["notes"]
    assert note.startswith("no row is in val and test: nothing is measured there;")


def test_names_of_a_strangers_files_and_columns_are_names_and_nothing_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SECRET", "swordfish")
    odd = {"${oc.env:SECRET}": TEXTS, "a: {_target_: os.system}": LABELS}
    path = lines(tmp_path / "x ${oc.env:SECRET}.jsonl", **odd)
    made = prepare(path, out=tmp_path / "my", name="mine")
    train(["--config-dir", str(tmp_path / "my"), "experiment=mine", "--cfg", "job"])
    said = capsys.readouterr().out
    source = yaml.safe_load(said)["data"]["source"]
    assert source["columns"] == dict(zip(odd, ("text", "label"), strict=True)) and "swordfish" not in said
    train(["--config-dir", str(tmp_path / "my"), "experiment=mine", "--cfg", "job", "--resolve"])
    source = yaml.safe_load(capsys.readouterr().out)["data"]["source"]
    assert source["files"] == str(path)
    assert "<script" not in made.page.read_text()
    with pytest.raises(ValueError, match="configurations keep the name '_target_' for themselves; rename that column"):
        prepare(lines(tmp_path / "y.jsonl", _target_=TEXTS, label=LABELS), out=tmp_path / "my", name="other")
