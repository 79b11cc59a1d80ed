from dataclasses import replace

import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, Packed, Tokens, pack

from omniformer.config import build
from omniformer.embedders import IdEmbedder, NodeEmbedder, VectorEmbedder
from omniformer.embedders.maskable import Maskable


def ids(*values: int) -> Packed:
    return pack(
        [Tokens(values=torch.tensor(values), positions=torch.arange(len(values))[:, None].float(), modality="text")]
    )


def hidden(packed: Packed, *masked: bool) -> Packed:
    return replace(packed, features={**packed.features, "masked": torch.tensor(masked)})


@pytest.mark.parametrize(
    ("embedder", "one", "other"),
    [
        (IdEmbedder(d_model=8, vocab_size=10), ids(1, 2, 3), ids(1, 7, 3)),
        (
            VectorEmbedder(d_model=8, features=2),
            replace(ids(0, 0, 0), values=torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])),
            replace(ids(0, 0, 0), values=torch.tensor([[1.0, 2.0], [-9.0, 4.0], [5.0, 6.0]])),
        ),
    ],
)
def test_a_hidden_value_leaves_no_trace_and_the_others_are_embedded_as_ever(embedder, one, other):
    it = Maskable(d_model=8, embedder=embedder)
    first, second = (it(hidden(each, False, True, False)) for each in (one, other))
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first[[0, 2]], embedder(one)[[0, 2]])
    blank = embedder(replace(one, values=torch.zeros_like(one.values)))
    torch.testing.assert_close(first[1], blank[1] + it.vector)


def test_the_degree_of_a_hidden_node_stays_visible():
    graph = {"n_nodes": 3, "edges": [[0, 1], [1, 2]], "node_features": [[4], [4], [4]]}
    packed = pack([GraphTokenizer(node_vocab_sizes=(5,))(graph)])
    it = Maskable(d_model=8, embedder=NodeEmbedder(d_model=8, vocab_sizes=[5], max_degree=63))
    x = it(hidden(packed, True, True, True))
    torch.testing.assert_close(x[0], x[2])
    assert not torch.allclose(x[0], x[1])


def test_tokens_that_cannot_be_hidden_are_embedded_as_ever():
    embedder = IdEmbedder(d_model=8, vocab_size=10)
    torch.testing.assert_close(Maskable(d_model=8, embedder=embedder)(ids(1, 2)), embedder(ids(1, 2)))


def test_facts_of_the_data_reach_the_embedder_inside():
    node = {
        "_target_": "omniformer.embedders.maskable.Maskable",
        "embedder": {"_target_": "omniformer.embedders.IdEmbedder", "dropout": 0.0},
    }
    assert build(node, "embedder", d_model=8, vocab_size=17).table.num_embeddings == 17


def test_the_table_is_that_of_the_embedder_inside():
    embedder = IdEmbedder(d_model=8, vocab_size=10)
    assert Maskable(d_model=8, embedder=embedder).table is embedder.table
    assert Maskable(d_model=8, embedder=VectorEmbedder(d_model=8, features=2)).table is None
