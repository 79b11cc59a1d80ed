import numpy as np
import pytest
import torch
from omniformer_tokenizers import GraphTokenizer

from omniformer.data.sets import tudataset
from omniformer.data.sets.tudataset import TUGraphs

SPLITS = ("train", "val", "test")
N = 23  # two graphs in each of the ten folds, and three in none
FOLDS = [graph // 2 if graph < 20 else -1 for graph in range(N)]


def ring(n):
    return [sorted(((node - 1) % n, (node + 1) % n)) for node in range(n)]


@pytest.fixture
def packed(tmp_path):
    """Rings of 3 to 7 nodes; a node's kind is its number, a graph's class whether its size is even."""
    sizes = [3 + graph % 5 for graph in range(N)]
    starts = np.cumsum([0, *sizes])
    ends = [
        (start + a, start + b)
        for start, n in zip(starts, sizes, strict=False)
        for a, others in enumerate(ring(n))
        for b in others
    ]
    arrays = {
        "y": np.array([n % 2 == 0 for n in sizes], dtype=np.uint8),
        "node_label": np.concatenate([np.arange(n) for n in sizes]).astype(np.uint8),
        "node_ptr": starts.astype(np.int32),
        "edge_index": np.array(ends, dtype=np.int32).T,
        "edge_ptr": (2 * starts).astype(np.int32),
        "test_fold": np.array(FOLDS, dtype=np.int8),
    }
    (tmp_path / "tudataset").mkdir()
    np.savez(tmp_path / "tudataset/MUTAG.npz", **arrays)
    return tmp_path, arrays


@pytest.fixture
def published(tmp_path):
    """The same graphs as the repository has them: classes -1 and 1, kinds in tens, neighbours in any order."""
    folder = tmp_path / "published/MUTAG"
    (folder / "10fold_idx").mkdir(parents=True)
    lines = [str(N)]
    for graph in range(N):
        n = 3 + graph % 5
        lines.append(f"{n} {1 if n % 2 == 0 else -1}")
        lines += [f"{10 * node} 2 {others[1]} {others[0]}" for node, others in enumerate(ring(n))]
    (folder / "MUTAG.txt").write_text("\n".join(lines) + "\n")
    for fold in range(10):
        tests = [graph for graph in range(N) if FOLDS[graph] == fold]
        (folder / f"10fold_idx/test_idx-{fold + 1}.txt").write_text("".join(f"{graph}\n" for graph in reversed(tests)))
    return folder


def numbers(source):
    return {name: [int(raw.id.rsplit("/", 1)[1]) for raw in source.split(name)] for name in SPLITS}


@pytest.mark.parametrize("fold", [0, 4, 9])
def test_the_fold_tests_the_next_validates_and_the_rest_trains(packed, fold):
    found = numbers(TUGraphs(data_root=str(packed[0]), fold=fold))
    following = (fold + 1) % 10
    assert found["test"] == [2 * fold, 2 * fold + 1]
    assert found["val"] == [2 * following, 2 * following + 1]
    assert found["train"] == [graph for graph in range(N) if FOLDS[graph] not in (fold, following)]
    assert {20, 21, 22} <= set(found["train"])


def test_graphs_have_kinds_of_nodes_and_a_class(packed):
    source = TUGraphs(data_root=str(packed[0]))
    for raw in source.split("train"):
        graph = raw.contents["graph"]
        n = graph["n_nodes"]
        assert graph["node_features"].tolist() == [[node] for node in range(n)]
        assert graph["node_features"].dtype == torch.int64
        assert graph["edges"].tolist() == [[a, b] for a, others in enumerate(ring(n)) for b in others]
        assert int(raw.targets["label"]) == (n % 2 == 0)
    tokens = GraphTokenizer(node_vocab_sizes=source.facts["node_vocab_sizes"])(source.split("val")[0].contents["graph"])
    assert tokens.values.shape == (5, 1)


def test_the_files_of_the_repository_give_the_same_samples(tmp_path, packed, published, listed, monkeypatch):
    monkeypatch.setattr(tudataset, "URL", published.parent.as_uri() + "/{dataset}/{file}")
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"MUTAG\.txt.*download=true"):
        TUGraphs(data_root=empty).split("train")
    for fold in (0, 9):
        ours = listed(TUGraphs(data_root=str(packed[0]), fold=fold))
        assert listed(TUGraphs(data_root=empty, fold=fold, download=True)) == ours
        assert listed(TUGraphs(data_root=empty, fold=fold)) == ours


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.full(N, 2)}, ".*class '2' is not among those of training, not mutagenic, mutagenic"),
        ({"y": np.zeros(3, int)}, "has no column 'y'"),
        ({"edge_ptr": np.zeros(3, int)}, ".*node_ptr has 24 entries and edge_ptr 3; need as many"),
    ],
)
def test_arrays_that_do_not_fit_are_told(packed, changes, message):
    root, arrays = packed
    np.savez(root / "tudataset/MUTAG.npz", **arrays | changes)
    with pytest.raises(ValueError, match=rf"MUTAG\.npz.*{message}"):
        TUGraphs(data_root=str(root)).split("train")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("MUTAG.txt", "1\n2 1\n0 1 1\n", "expected node 1 of graph 0 as 2 whole numbers, received ''"),
        ("MUTAG.txt", "1\n1 1\n0 2 0\n", "node 0 of graph 0 announces 2 neighbours and names 1"),
        ("MUTAG.txt", "many\n", "expected the number of graphs as 1 whole numbers, received 'many'"),
        ("10fold_idx/test_idx-3.txt", "0\n", "'0' is not one of 0..22, or in two test folds"),
        ("10fold_idx/test_idx-3.txt", "23\n", "'23' is not one of"),
        ("10fold_idx/test_idx-3.txt", "all\n", "'all' is not one of"),
    ],
)
def test_a_bad_line_is_told_with_its_file(tmp_path, published, file, text, message):
    (tmp_path / "tudataset").mkdir(exist_ok=True)
    published.rename(tmp_path / "tudataset/MUTAG")
    (tmp_path / "tudataset/MUTAG" / file).write_text(text)
    with pytest.raises(ValueError, match=rf"{file}: {message}"):
        TUGraphs(data_root=str(tmp_path)).split("train")


@pytest.mark.parametrize(
    ("options", "message"), [({"fold": 10}, "fold=10"), ({"dataset": "PTC"}, "choose MUTAG or NCI1")]
)
def test_unknown_sets_and_folds_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TUGraphs(**options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "sizes", "classes", "nodes"),
    [("MUTAG", [152, 18, 18], [63, 125], 3371), ("NCI1", [3288, 411, 411], [2053, 2057], 122747)],
)
def test_the_real_sets_have_their_published_sizes(shared_data, dataset, sizes, classes, nodes):
    source = TUGraphs(dataset=dataset, data_root=str(shared_data), fold=9)
    raws = [raw for name in SPLITS for raw in source.split(name)]
    assert [len(source.split(name)) for name in SPLITS] == sizes
    assert torch.stack([raw.targets["label"] for raw in raws]).bincount().tolist() == classes
    assert sum(raw.contents["graph"]["n_nodes"] for raw in raws) == nodes
    kinds = {kind for raw in raws for kind in raw.contents["graph"]["node_features"].flatten().tolist()}
    assert kinds == set(range(source.facts["node_vocab_sizes"][0]))
