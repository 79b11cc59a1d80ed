"""A batch without its samples; workers themselves are tried through the loader."""

from omniformer_tokenizers import GraphTokenizer

from omniformer.batch import Sample, collate
from omniformer.data.stream import Stream
from omniformer.data.workers import emptied


def test_an_empty_batch_keeps_fields_and_widths(lists, ints):
    stream = Stream(source=lists(3))
    samples = stream.samples("train", {"text": ints}, name="x", seed=0)
    batch = emptied(collate([samples(0, i) for i in range(3)]))
    assert (len(batch), batch.n_tokens, batch.ids) == (0, 0, ())
    assert batch.parts["text"].positions.shape == (0, 1)
    assert batch.targets["label"].shape == (0,)


def test_an_empty_batch_of_graphs_keeps_two_rows_of_edges():
    graph = GraphTokenizer(random_walk=2)({"n_nodes": 2, "edges": [[0, 1]]})
    part = emptied(collate([Sample(id="a", pieces=[graph])])).parts["graph"]
    assert part.edges.shape == (2, 0)
    assert part.features["random_walk"].shape == (0, 2)
    assert part.edge_lengths.shape == (0,)
