import pytest
import torch

from omniformer.data.pyg_dataset import PyGDataset, pyg

pyg("datasets")  # first, so that its own deprecation notices stay out of these tests
from torch_geometric.data import Data  # noqa: E402

SPLITS = ("train", "val", "test")


def ring(n=3, **fields):
    edges = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])
    return Data(edge_index=edges, num_nodes=n, **fields)


def test_whole_graphs_are_split_and_keep_their_data():
    graphs = [ring(y=torch.tensor([i % 3])) for i in range(20)]
    source = PyGDataset(graphs=graphs)
    raws = {int(raw.id.split("/")[1]): raw for name in SPLITS for raw in source.split(name)}
    assert [len(source.split(name)) for name in SPLITS] == [16, 2, 2]
    assert sorted(raws) == list(range(20))
    assert all(raw.contents["graph"] is graphs[i] and int(raw.targets["label"]) == i % 3 for i, raw in raws.items())
    assert dict(source.facts) == {"n_classes": 3}
    assert source.labels == ("0", "1", "2")


def test_several_answers_and_numbers_are_targets_of_their_own():
    several = PyGDataset(graphs=[ring(y=torch.tensor([[0.0, 1.0]]))], target="labels", val=0, test=0)
    assert several.split("train")[0].targets["labels"].tolist() == [0, 1]
    assert several.facts["n_classes"] == 2
    number = PyGDataset(graphs=[ring(y=torch.tensor([2.5]))], target="value", val=0, test=0)
    assert number.split("train")[0].targets["value"].shape == ()
    assert dict(number.facts) == {}


def test_node_labels_come_with_the_mask_of_the_split():
    masks = {f"{name}_mask": torch.arange(3) == i for i, name in enumerate(SPLITS)}
    source = PyGDataset(graphs=[ring(y=torch.tensor([0, 1, 1]), **masks)], target="node_label")
    for i, name in enumerate(SPLITS):
        targets = source.split(name)[0].token_targets
        assert targets["mask"].tolist() == [j == i for j in range(3)]
        assert targets["label"].tolist() == [0, 1, 1]


def test_a_class_of_pyg_is_built_by_name():
    source = PyGDataset(dataset="KarateClub", graphs=None, target="label")
    assert source.name == "KarateClub"
    assert source.graphs[0].num_nodes == 34


def use(**options):
    source = PyGDataset(**options)
    return source.split("train"), source.labels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either dataset"),
        ({"dataset": "os"}, "dataset='os' is not an in-memory data set of torch_geometric.datasets"),
        ({"dataset": "__builtins__"}, "is not an in-memory data set"),
        ({"dataset": "KarateClub", "options": {"nonsense": 1}}, "KarateClub cannot be built from .*nonsense"),
        ({"graphs": [ring()], "target": "colour"}, "target='colour' is not known"),
        ({"graphs": [ring()]}, "graph 0 of graphs has no y"),
        ({"graphs": [ring(y=torch.tensor([0.5]))]}, "graph 0 of graphs: y is torch.float32 of 1 numbers"),
        ({"graphs": [ring(y=torch.tensor([0, 1, 0]))], "target": "node_label"}, "graph 0 of graphs has no train_mask"),
        ({"graphs": [ring(y=torch.tensor([1]))], "label_names": ["a"]}, "label_names has 1 names for 2 classes"),
    ],
)
def test_what_is_not_understood_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        use(**options)


def test_what_nodes_and_edges_have_is_told_to_the_tokenizer():
    numbers = PyGDataset(graphs=[ring(y=torch.tensor([0]), x=torch.rand(3, 4), edge_attr=torch.rand(3))] * 9)
    assert {**numbers.facts} == {"n_classes": 1, "node_features": 4, "edge_features": 1}
    kinds = [torch.tensor([[0, 5], [1, 0], [0, 0]]), torch.tensor([[2, 0], [1, 0], [0, 0]])]
    categories = PyGDataset(graphs=[ring(y=torch.tensor([0]), x=x, edge_attr=x[:, 0]) for x in kinds])
    assert {**categories.facts} == {"n_classes": 1, "node_vocab_sizes": (3, 6), "edge_vocab_sizes": (3,)}
