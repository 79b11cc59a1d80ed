"""A folder with the tables of one graph becomes an experiment."""

import json

import pytest
import yaml

from omniformer.prepare.graph_tables import graph_files
from omniformer.prepare.preparing import prepare
from omniformer.train import main as train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def graph(folder, *, classes=True):
    folder.mkdir()
    kinds = [f",{'red' if i % 2 else 'blue'}" if classes else "" for i in range(30)]
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
    assert seen["left_out"] == ["home"] and seen["proposal"]["task"] == "node_classification"
    source = composed["data"]["source"]
    assert (source["node_id"], source["ends"], source["features"]) == ("who", ["src", "dst"], ["age"])
    assert "one graph of 30 nodes and 31 edges" in found.told() and "majority_accuracy 0.500 on test" in found.told()
    assert sum(n for counts in seen["classes"].values() for n in counts.values()) == 30


def test_without_classes_edges_are_to_be_found(tmp_path, capsys):
    found, composed = prepared(graph(tmp_path / "friends", classes=False), tmp_path, capsys)
    assert found.findings["proposal"]["task"] == "link_prediction"
    assert composed["data"]["arrange"]["same_graph"] and composed["data"]["source"]["label"] is None


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
