"""The command, from a saved folder and files to what it prints."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, GraphTokenizer, PatchTokenizer
from omniformer_tokenizers.graph.smiles import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES
from PIL import Image

import omniformer
from omniformer.predict import _said, main
from omniformer.prediction import Prediction
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model

PATCHES = PatchTokenizer(patch_size=4, channels=1)


def saved(folder, *, modality="vision", tokenizer=PATCHES):
    """A folder of a model that tells three classes apart."""
    target = {"text": "IdEmbedder", "graph": "NodeEmbedder"}.get(modality, "VectorEmbedder")
    facts = {"d_model": 16, **tokenizer.facts}
    recipe = {
        "core": {
            "_target_": "omniformer.core.transformer.Transformer",
            "d_model": 16,
            "n_layers": 1,
            "n_heads": 2,
            "init_std": 0.5,
        },
        "embedders": {modality: {"node": {"_target_": f"omniformer.embedders.{target}"}, "facts": facts}},
        "heads": {
            "it": {
                "node": {"_target_": "omniformer.heads.ClassificationHead"},
                "facts": {"d_model": 16, "n_classes": 3},
            }
        },
        "rules": {"it": {"_target_": "omniformer.core.rules.Full"}},
    }
    torch.manual_seed(0)
    model = build_model(recipe)
    torch.nn.init.normal_(model.heads["it"].classes.weight)
    member = Member(tokenizers={modality: tokenizer}, labels=("ant", "bee", "cat"))
    omniformer.save(folder, Predictor(model, {"it": member}), recipe=recipe)
    return str(folder)


@pytest.fixture
def pictures(tmp_path):
    """A folder with three pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_a_folder_is_predicted_and_each_row_has_only_what_there_is(tmp_path, pictures, capsys):
    main([saved(tmp_path / "model"), str(pictures), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows] == [str(pictures / f"{i}.png") for i in range(3)]
    for row in rows:
        assert list(row) == ["input", "member", "label", "score", "probabilities"]
        assert row["score"] == row["probabilities"][row["label"]] == max(row["probabilities"].values())


def test_broken_files_are_named_and_counted_and_the_good_ones_predicted(tmp_path, pictures, capsys):
    (pictures / "1.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stop:
        main([saved(tmp_path / "model"), str(pictures), "lost.png", "--json"])
    told = capsys.readouterr()
    assert stop.value.code == 1
    assert len(told.out.splitlines()) == 2
    assert "error: no file 'lost.png'" in told.err
    assert f"{pictures / '1.png'}: cannot be read as an image" in told.err
    assert told.err.endswith("(2 inputs could not be read; all others were)\n")


def test_where_nothing_can_be_read_the_first_reason_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([saved(tmp_path / "model"), "lost.png"])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: no file 'lost.png'")


def test_a_text_file_with_a_byte_order_mark_is_the_same_text(tmp_path, capsys):
    model = saved(tmp_path / "model", modality="text", tokenizer=ByteTokenizer())
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa fine film")
    main([model, str(tmp_path / "a.txt"), "a fine film", "--json"])
    file, typed = (json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines())
    assert file == pytest.approx(typed, abs=1e-6)


MEASURED = """
import resource, sys
from omniformer.predict import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    print(stop.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
TEXTS = {"modality": "text", "tokenizer": ByteTokenizer()}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_in_a_pipe_each_prediction_is_one_whole_line(tmp_path, pictures, capsys):
    deep = tmp_path / ("long " * 30) / "more"
    deep.parent.mkdir()
    pictures.rename(deep)
    main([saved(tmp_path / "model"), str(deep), "--top", "2"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "input\ttask\tprediction"
    assert [line.split("\t")[0] for line in lines] == [str(deep / f"{i}.png") for i in range(3)]


def test_a_csv_has_label_and_score_and_its_ranks(tmp_path, pictures, capsys):
    model, out = saved(tmp_path / "model"), tmp_path / "new" / "said.csv"
    main([model, str(pictures / "*.png"), "--out", str(out), "--top", "2"])
    assert "3 inputs predicted" in capsys.readouterr().err
    main([model, str(pictures), "--json"])
    whole = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = rows_of(out)
    assert list(rows[0]) == ["input", "member", "label", "score", "label_2", "score_2"]
    assert [(row["input"], row["label"], float(row["score"])) for row in rows] == [
        (row["input"], row["label"], row["score"]) for row in whole
    ]
    assert list(tmp_path.joinpath("new").iterdir()) == [out]


def test_good_inputs_are_written_whatever_the_others_are(tmp_path, pictures, capsys):
    (pictures / "1.png").write_bytes(b"no picture")
    out = tmp_path / "said.jsonl"
    with pytest.raises(SystemExit) as stop:
        main([saved(tmp_path / "model"), str(pictures), "--out", str(out), "--batch-size", "2"])
    assert stop.value.code == 1
    assert [json.loads(line)["input"][-5:] for line in out.read_text().splitlines()] == ["0.png", "2.png"]
    assert "2 inputs predicted" in (told := capsys.readouterr().err) and "(1 input could not be read" in told


def test_what_is_broken_off_stays_under_the_name_of_a_part(tmp_path, pictures, monkeypatch):
    model, out = saved(tmp_path / "model"), tmp_path / "said.csv"
    outcomes = Predictor.outcomes

    def interrupted(*args, **options):
        yield next(outcomes(*args, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "outcomes", interrupted)
    with pytest.raises(SystemExit) as stop:
        main([model, str(pictures), "--out", str(out)])
    assert stop.value.code == 130 and not out.exists()
    assert json.loads((tmp_path / "said.csv.part").read_text())["input"] == str(pictures / "0.png")


def learned_from(folder, source, **model):
    """A run folder that says what it learned from."""
    saved(folder / "model", **model)
    data = {"_target_": "omniformer.data.Stream", "source": {"_target_": "omniformer.data.Table", **source}}
    parts = {key: {"_target_": "x"} for key in ("tokenizer", "embedder", "task")}
    (folder / "config.yaml").write_text(json.dumps({"name": "it", "paths": {}, "data": data, **parts}))
    return str(folder)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_table_is_read_by_the_columns_of_training(tmp_path, suffix, capsys):
    columns = {"review": "text", "mood": "label", "film": "id"}
    run = learned_from(tmp_path / "run", {"columns": columns, "shares": [0.8, 0.1, 0.1]}, **TEXTS)
    rows = [
        {"film": "one", "review": "a fine film"},
        {"film": "two", "review": None},
        {"film": "three", "review": "bad"},
    ]
    if suffix == "csv":
        text = "film,review,stars\none,a fine film,4\ntwo,,3\nthree,bad,1\n"
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    (table := tmp_path / f"new.{suffix}").write_text(text)
    with pytest.raises(SystemExit):  # for the row without a review
        main([run, str(table), "--json"])
    told = capsys.readouterr()
    found = {row["input"]: row["probabilities"] for row in map(json.loads, told.out.splitlines())}
    assert "2: no content: all of review are empty" in told.err
    main([run, "a fine film", "bad", "--json"])
    assert list(found) == ["one", "three"]
    for row, probabilities in zip(map(json.loads, capsys.readouterr().out.splitlines()), found.values(), strict=True):
        assert row["probabilities"] == pytest.approx(probabilities, abs=1e-6)


def test_a_column_that_is_named_takes_the_place_of_the_one_of_training(tmp_path, pictures, capsys):
    run = learned_from(tmp_path / "run", {"columns": {"photo": "vision", "mood": "label"}})
    (table := pictures / "list.csv").write_text("file,who\n0.png,me\n2.png,you\n")
    with pytest.raises(SystemExit):
        main([run, str(table)])
    assert "photo" in capsys.readouterr().err
    main([run, str(table), "--columns", "{file: vision, who: id}"])
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["me", "you"]


def test_molecules_are_read_by_a_run_that_learned_from_graphs_of_them(tmp_path, capsys):
    pytest.importorskip("rdkit")
    graphs = GraphTokenizer(node_vocab_sizes=ATOM_VOCAB_SIZES, edge_vocab_sizes=BOND_VOCAB_SIZES)
    source = {"files": "a.csv + molecules:a.npz", "columns": {"graph": "graph", "y": "value"}}
    run = learned_from(tmp_path / "run", source, modality="graph", tokenizer=graphs)
    (known := tmp_path / "known.csv").write_text("SMILES\nCCO\n")
    (other := tmp_path / "other.csv").write_text("mol\nCCO\n")
    found = []
    for asked in (["CCO"], [str(known)], [str(other), "--columns", "{mol: graph}"], ["c1ccccc1"]):
        main([run, *asked])
        found.append(capsys.readouterr().out.splitlines()[1].split("\t")[2])
    assert found[0] == found[1] == found[2] != found[3]
    with pytest.raises(SystemExit):
        main([run, str(other)])
    assert "no column 'smiles' to make graphs of; it has mol; rename" in capsys.readouterr().err


def test_new_rows_need_no_names_and_names_may_stand_in_another_column(tmp_path, capsys):
    run = learned_from(tmp_path / "run", {"columns": {"review": "text", "mood": "label", "film": "id"}}, **TEXTS)
    (table := tmp_path / "new.csv").write_text("review,title\na fine film,one\n")
    main([run, str(table)])
    assert capsys.readouterr().out.splitlines()[1].startswith("new.csv, row 1\t")
    main([run, str(table), "--columns", "{title: id}"])
    assert capsys.readouterr().out.splitlines()[1].startswith("one\t")
    with pytest.raises(SystemExit):
        main([run, str(table), "--columns", "{titel: id}"])
    assert "has no column 'titel' (did you mean 'title'?)" in capsys.readouterr().err


def test_tables_of_one_graph_are_told_how_another_graph_is_given(tmp_path, capsys):
    run = learned_from(tmp_path / "run", {"_target_": "omniformer.data.GraphTables", "nodes": "nodes.csv"}, **TEXTS)
    (table := tmp_path / "nodes.csv").write_text("id,age\na,1\n")
    with pytest.raises(SystemExit):
        main([run, str(table)])
    assert 'learned from the tables of one graph; give another graph as a file of JSON, {"n_nodes"' in (
        capsys.readouterr().err
    )


def test_large_numbers_keep_the_digits_that_they_have():
    assert (
        _said(Prediction(input="a", member="b", probabilities={}, values=(1_000_150.0, -0.25)), 3) == "1000150  -0.25"
    )


def test_a_table_that_nobody_knows_the_columns_of_is_asked_for_them(tmp_path, pictures, capsys):
    model = saved(tmp_path / "model")
    (table := pictures / "list.csv").write_text("photo,who\n0.png,me\n2.png,you\n")
    with pytest.raises(SystemExit) as stop:
        main([model, str(table)])
    assert stop.value.code == 2
    assert "learned from none; say what its columns are for with --columns '{photo: vision}'" in capsys.readouterr().err
    main([model, str(table), "--columns", "{photo: vision, who: id}"])
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["me", "you"]


def test_a_table_leads_outside_of_its_folder_only_where_that_is_said(tmp_path, pictures, capsys):
    model = saved(tmp_path / "model")
    (table := tmp_path / "list.csv").write_text(f"photo\n{pictures.parent.parent / 'x.png'}\n")
    Image.new("L", (8, 8)).save(pictures.parent.parent / "x.png")
    asked = [model, str(table), "--columns", "{photo: vision}"]
    with pytest.raises(SystemExit):
        main(asked)
    assert "give --outside where the table is your own" in capsys.readouterr().err
    main([*asked, "--outside"])


def test_the_lines_of_a_file_are_texts(tmp_path, capsys):
    (tmp_path / "texts").write_text("a fine film\nbad\n")
    main([saved(tmp_path / "model", **TEXTS), f"lines:{tmp_path / 'texts'}", "good"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == [
        f"{tmp_path / 'texts'}, line 1",
        f"{tmp_path / 'texts'}, line 2",
        "input 1",
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_files_take_the_memory_of_few(tmp_path):
    """The most memory that the command takes is that of a hundred files, but for their names and the columns."""
    model = saved(tmp_path / "model")
    picture = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    peaks = []
    for n in (100, 10_000):
        (folder := tmp_path / str(n)).mkdir()
        Image.fromarray(picture).save(folder / "0.png")
        for i in range(1, n):
            (folder / f"{i}.png").hardlink_to(folder / "0.png")
        (folder / "7.png").unlink()
        (folder / "7.png").write_bytes(b"no picture")
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, model, str(folder), "--out", str(tmp_path / f"{n}.csv")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        status, peak = map(int, done.stdout.split())
        assert status == 1 and f"{n - 1} inputs predicted" in done.stderr and "7.png" in done.stderr
        assert len(rows_of(tmp_path / f"{n}.csv")) == n - 1
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 60_000  # kB; the tokens of all pictures at once would be 160 MB and more
