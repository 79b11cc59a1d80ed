"""A table of nodes and one of edges are one graph."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from omniformer_tokenizers import GraphTokenizer

from omniformer.data import GraphTables, OmniDataModule, Stream

NODES = [f"n{i},{'ab'[i % 2]},{i / 2},{-i}" for i in range(20)]
EDGES = [f"n{i},n{(i + 1) % 20},{i}" for i in range(20)]


def tables(tmp_path, nodes=NODES, edges=EDGES, head="id,label,x,y"):
    (tmp_path / "nodes.csv").write_text("\n".join([head, *nodes]))
    (tmp_path / "edges.csv").write_text("\n".join(["source,target,weight", *edges]))
    return {"nodes": str(tmp_path / "nodes.csv"), "edges": str(tmp_path / "edges.csv")}


def masks(source):
    return {
        name: raws[0].token_targets["mask"].nonzero().flatten().tolist()
        for name in ("train", "val", "test")
        if (raws := source.split(name))
    }


def test_nodes_edges_numbers_and_classes_are_those_of_the_tables(tmp_path):
    source = GraphTables(**tables(tmp_path), edge_features=["weight"])
    (raw,) = source.split("train")
    graph = raw.contents["graph"]
    assert graph["n_nodes"] == 20 and graph["edges"].tolist() == [[i, (i + 1) % 20] for i in range(20)]
    assert graph["node_features"].tolist() == [[i / 2, -i] for i in range(20)]
    assert graph["edge_features"].tolist() == [[i] for i in range(20)]
    assert source.labels == ("a", "b") and raw.token_targets["label"].tolist() == [0, 1] * 10
    assert source.facts == {"n_classes": 2, "node_features": 2, "edge_features": 1}


def test_a_node_is_told_by_the_number_of_its_row_where_it_is_asked_for(tmp_path):
    source = GraphTables(**tables(tmp_path), identity=True)
    assert (source.facts["node_vocab_sizes"], source.facts["node_features"]) == ((20,), 0)
    tokenizer = GraphTokenizer(node_vocab_sizes=source.facts["node_vocab_sizes"])
    assert tokenizer(source.split("val")[0].contents["graph"]).values.tolist() == [[i] for i in range(20)]
    with pytest.raises(ValueError, match=r"identity=true with features=\['x'\] and row_normalise=False"):
        GraphTables(**tables(tmp_path), identity=True, features=["x"])


def test_nodes_are_split_by_their_names_each_class_alike_and_each_once(tmp_path):
    found = masks(GraphTables(**tables(tmp_path), val=0.2, test=0.2))
    assert sorted(i for places in found.values() for i in places) == list(range(20))
    assert [sorted(i % 2 for i in found[name]) for name in ("val", "test")] == [[0, 0, 1, 1]] * 2
    (tmp_path / "turned").mkdir()
    turned = masks(GraphTables(**tables(tmp_path / "turned", nodes=NODES[::-1]), val=0.2, test=0.2))
    assert {name: sorted(19 - i for i in places) for name, places in turned.items()} == found


def test_a_column_names_the_split_and_what_has_no_class_or_no_split_counts_nowhere(tmp_path):
    nodes = ["a,x,train", "b,y,dev", "c,,train", "d,x,test", "e,y,"]
    source = GraphTables(**tables(tmp_path, nodes, ["a,b,1"], head="id,label,split"))
    assert masks(source) == {"train": [0], "val": [1], "test": [3]}
    assert "node_features" not in source.split("train")[0].contents["graph"]
    assert source.baselines() == {"majority_accuracy": 1.0}


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_other_formats_give_the_same_graph(tmp_path, kind):
    wanted = GraphTables(**tables(tmp_path)).split("train")[0]
    features, labels = np.array([[i / 2, -i] for i in range(20)]), np.array(["a", "b"] * 10)
    names, ends = [f"n{i}" for i in range(20)], np.array([[i, (i + 1) % 20] for i in range(20)])
    if kind == "npz":
        np.savez(tmp_path / "nodes.npz", id=np.array(names), label=labels, x=features)
        np.savez(tmp_path / "edges.npz", edge_index=np.array([[f"n{i}" for i in row] for row in ends.T]))
    else:
        columns = {"id": names, "label": labels, "x": features[:, 0], "y": features[:, 1]}
        pq.write_table(pa.table(columns), tmp_path / "nodes.parquet")
        source, target = ([f"n{i}" for i in row] for row in ends.T)
        pq.write_table(pa.table({"source": source, "target": target}), tmp_path / "edges.parquet")
    files = {each: str(tmp_path / f"{each}.{kind}") for each in ("nodes", "edges")}
    found = GraphTables(**files).split("train")[0]
    for name in ("edges", "node_features"):
        torch.testing.assert_close(found.contents["graph"][name], wanted.contents["graph"][name])
    assert torch.equal(found.token_targets["mask"], wanted.token_targets["mask"])


def test_nodes_without_names_are_numbers_of_rows(tmp_path):
    source = GraphTables(**tables(tmp_path, ["x,1", "y,2", "x,3"], ["0,2,1"], head="label,x"), val=0, test=0)
    assert source.split("train")[0].contents["graph"]["edges"].tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"edges": ["n1,n2,1", "n1,zz,1", "yy,n2,1"]},
            r"2 problem.*edges\.csv, row 3: 'yy'.*row 2: 'zz' is no node of",
        ),
        ({"nodes": [*NODES, "n3,a,1,1"]}, r"nodes\.csv, row 21: 'n3' is there again"),
        (
            {"nodes": [*NODES, "m,a,tall,1", "o,a,,1"]},
            r"2 problem.*row 21, column 'x': expected a number.*row 22.*no number",
        ),
        ({"head": "id,kind,x,y"}, r"has no column 'label', but id, kind, x, y; name it with label, null where"),
    ],
)
def test_all_that_is_wrong_is_told_with_its_row(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        GraphTables(**tables(tmp_path, **change)).split("train")


def test_a_graph_without_classes_is_whole_in_every_split(tmp_path):
    source = GraphTables(**tables(tmp_path, head="id,kind,x,y"), label=None, features=["x", "y"])
    assert [len(source.split(name)[0].token_targets) for name in ("train", "val", "test")] == [0, 0, 0]


def test_it_becomes_batches(tmp_path):
    data = OmniDataModule(
        streams={"x": Stream(source=GraphTables(**tables(tmp_path)), batch_size=1)},
        tokenizers={"x": {"graph": GraphTokenizer(node_features=2)}},
        seed=0,
    )
    data.setup()
    batch = next(iter(data.train_dataloader()))["x"]
    assert batch.n_tokens == 20 and batch.parts["graph"].edges.shape == (2, 40)
