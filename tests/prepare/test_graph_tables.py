"""A folder with the tables of one graph becomes an experiment."""

import json

import pytest
import yaml

from omniformer.prepare.graph_tables import graph_files
from omniformer.prepare.preparing import prepare
from omniformer.train import main as train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def graph(folder, *, classes=True, alike=True):
    """A ring, of which one half is of one class, or every second node."""
    folder.mkdir()
    kinds = [f",{'red' if (i < 15 if alike else i % 2) else 'blue'}" if classes else "" for i in range(30)]
    nodes = [f"person {i},{i / 3},town {i}{kinds[i]}" for i in range(30)]
    head = "who,age,home,label" if classes else "who,age,home"
    (folder / "nodes.csv").write_text("\n".join([head, *nodes]))
    edges = [f"person {i},person {(i + 1) % 29}" for i in range(29)] + ["person 1,person 0", "person 3,person 3"]
    (folder / "edges.csv").write_text("\n".join(["src,dst", *edges]))
    return folder


def prepared(folder, tmp_path, capsys, **options):
    found = prepare(folder, out=tmp_path / "conf", name="mine", **options)
    assert json.loads(json.dumps(found.findings, allow_nan=False))
    train(["--config-dir", str(tmp_path / "conf"), "experiment=mine", "--cfg", "job"])
    return found, yaml.safe_load(capsys.readouterr().out)


def test_nodes_with_classes_are_to_be_told_apart(tmp_path, capsys):
    found, composed = prepared(graph(tmp_path / "friends"), tmp_path, capsys)
    seen = found.findings
    assert (seen["n_nodes"], seen["n_edges"], seen["alone"], seen["loops"], seen["again"]) == (30, 31, 1, 1, 1)
    assert seen["left_out"] == ["home"] and seen["proposal"]["task"] == "node_consistency"
    source = composed["data"]["source"]
    assert (source["node_id"], source["ends"], source["features"]) == ("who", ["src", "dst"], ["age"])
    assert "one graph of 30 nodes and 31 edges" in found.told() and "majority_accuracy 0.500 on test" in found.told()
    assert sum(n for counts in seen["classes"].values() for n in counts.values()) == 30


def test_without_classes_edges_are_to_be_found(tmp_path, capsys):
    found, composed = prepared(graph(tmp_path / "friends", classes=False), tmp_path, capsys)
    assert found.findings["proposal"]["task"] == "link_prediction"
    assert composed["data"]["arrange"]["same_graph"] and composed["data"]["source"]["label"] is None


def test_nodes_without_numbers_are_told_by_their_row_and_few_labels_get_a_core_that_learns_slowly(tmp_path, capsys):
    folder = graph(tmp_path / "friends")
    rows = [row.split(",") for row in (folder / "nodes.csv").read_text().splitlines()]
    (folder / "nodes.csv").write_text("\n".join(f"{who},{kind}" for who, _, _, kind in rows))
    found, composed = prepared(folder, tmp_path, capsys)
    assert found.findings["proposal"]["task"] == "node_consistency" and composed["optim"]["lr_of"] == {"core.*": 1e-4}
    assert composed["data"]["source"]["identity"] and composed["tokenizer"]["max_degree"] == 0
    assert composed["task"]["head"]["propagation"]["_target_"].endswith("GeneralizedPageRank")
    assert "each node is told by the number of its row" in found.told()


@pytest.mark.parametrize(
    ("alike", "task", "says"),
    [
        (True, "node_consistency", "neighbours are of one"),
        (False, "node_classification", "neighbours are not taken to"),
    ],
)
def test_scores_travel_where_neighbours_are_of_one_class(tmp_path, capsys, alike, task, says):
    found, composed = prepared(graph(tmp_path / "friends", alike=alike), tmp_path, capsys)
    assert composed["task"]["_target_"].endswith("ConsistentTokenClassification" if alike else ".TokenClassification")
    assert found.findings["proposal"]["task"] == task and says in found.told()
    assert bool(composed["task"]["head"]["propagation"]) == alike


def test_homophily_is_that_of_nodes_whose_class_is_known_before_the_test(tmp_path, capsys):
    (folder := tmp_path / "friends").mkdir()
    kinds, splits = "aabbabababaabb", ["train"] * 11 + ["val", "test", ""]
    rows = [f"{i},{kind},{split}" for i, (kind, split) in enumerate(zip(kinds, splits, strict=True))]
    edges = [(i, j) for i in range(14) for j in (i + 1, i + 3, i) if j < 14]
    (folder / "nodes.csv").write_text("\n".join(["id,label,split", *rows]))
    (folder / "edges.csv").write_text("\n".join(["source,target", *(f"{i},{j}" for i, j in edges)]))
    seen = prepared(folder, tmp_path, capsys)[0].findings["homophily"]
    between = [kinds[i] + kinds[j] for i, j in edges if i != j and max(i, j) < 12]
    share = sum(pair[0] == pair[1] for pair in between) / len(between)
    chance = sum(("".join(between).count(kind) / (2 * len(between))) ** 2 for kind in "ab")
    assert seen == pytest.approx({"edges": len(between), "share": share, "adjusted": (share - chance) / (1 - chance)})
    (folder / "edges.csv").write_text("source,target\n0,1\n")
    found, _ = prepared(folder, tmp_path, capsys, overwrite=True)
    assert found.findings["homophily"]["adjusted"] is None and "too few to tell" in found.told()


def test_words_are_left_out_at_random_and_many_labels_need_none_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("omniformer.prepare.graph_tables._WORDS", 1)
    _, composed = prepared(graph(tmp_path / "friends"), tmp_path, capsys)
    assert composed["embedder"]["input_dropout"] == 0.8 and not composed["data"]["source"]["identity"]
    monkeypatch.setattr("omniformer.prepare.graph_tables._FEW_LABELS", 2)
    found, composed = prepared(tmp_path / "friends", tmp_path, capsys, overwrite=True)
    assert found.findings["proposal"]["task"] == "node_classification" and composed["optim"]["lr_of"] is None


def test_a_column_that_is_named_is_the_class(tmp_path, capsys):
    _, composed = prepared(graph(tmp_path / "friends", classes=False), tmp_path, capsys, targets=["home"])
    assert composed["data"]["source"]["label"] == "home"


def test_columns_that_could_be_anything_are_asked_for(tmp_path):
    folder = graph(tmp_path / "friends")
    (folder / "edges.csv").write_text("one,two,three\nperson 1,person 2,x\n")
    with pytest.raises(ValueError, match=r"one, two, three; which are the ends of an edge is not clear"):
        prepare(folder, out=tmp_path / "conf")


def test_other_folders_hold_no_graph(tmp_path):
    assert graph_files(tmp_path) is None
    (tmp_path / "nodes.csv").touch()
    assert graph_files(tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("classes", [True, False])
def test_what_was_prepared_learns(tmp_path, classes):
    prepare(graph(tmp_path / "friends", classes=classes), out=tmp_path / "conf", name="mine")
    options = ["debug=fast", f"paths.output_root={tmp_path / 'runs'}"]
    train(["--config-dir", str(tmp_path / "conf"), "experiment=mine", *options])
    (metrics,) = (tmp_path / "runs").glob("*/latest/metrics.json")
    assert any(name.startswith("test/") for name in json.loads(metrics.read_text()))
