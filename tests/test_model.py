from dataclasses import replace
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omniformer_tokenizers import GraphTokenizer, Tokens

from omniformer.batch import Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.cache import KVCache
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.rules import Causal, Neighbours, Prefix, Self
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, NodeEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.model import OmniFormer

D_MODEL = 16
GRAPHS = GraphTokenizer(random_walk=3)


def make_model() -> OmniFormer:
    torch.manual_seed(0)
    facts = {name: GRAPHS.facts[name] for name in ("vocab_sizes", "max_degree", "random_walk")}
    model = OmniFormer(
        core=Transformer(d_model=D_MODEL, n_layers=2, n_heads=2, init_std=0.2),
        embedders={
            "text": IdEmbedder(d_model=D_MODEL, vocab_size=20, init_std=1.0),
            "vision": VectorEmbedder(d_model=D_MODEL, features=4, axes=2),
            "graph": NodeEmbedder(d_model=D_MODEL, **facts),
        },
        heads={
            "full": ClassificationHead(d_model=D_MODEL, n_classes=3),
            "graph": ClassificationHead(d_model=D_MODEL, n_classes=3),
            "lm": NextTokenHead(d_model=D_MODEL, vocab_size=20),
            "prefix": NextTokenHead(d_model=D_MODEL, vocab_size=20),
        },
        rules={"graph": Neighbours() | Self(), "lm": Causal(), "prefix": Causal() | Prefix()},
    )
    return model.eval()


def text(*ids: int) -> Tokens:
    return Tokens(
        values=torch.tensor(ids, dtype=torch.long), positions=torch.arange(len(ids))[:, None].float(), modality="text"
    )


def image(rows: int, columns: int, seed: int) -> Tokens:
    values = torch.randn(rows * columns, 4, generator=torch.Generator().manual_seed(seed))
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).reshape(-1, 2).float()
    return Tokens(values=values, positions=grid, modality="vision")


PIECES = st.one_of(
    st.lists(st.integers(0, 19), max_size=6).map(lambda ids: text(*ids)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 9)).map(lambda shape: image(*shape)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=3), min_size=1, max_size=5), st.sampled_from(["full", "lm"]))
def test_a_sample_in_a_mixed_batch_equals_the_sample_alone(pieces, head):
    model = make_model()
    samples = [Sample(id=str(i), pieces=p) for i, p in enumerate(pieces)]
    together, _ = model.encode(collate(samples), head)
    for sample, rows in zip(samples, together.split([len(sample) for sample in samples]), strict=True):
        alone, _ = model.encode(collate([sample]), head)
        torch.testing.assert_close(rows, alone, rtol=0, atol=1e-5)


def test_a_neighbour_in_the_batch_changes_no_gradient():
    samples = [Sample(id="a", pieces=[text(1, 2, 3)]), Sample(id="b", pieces=[image(2, 2, 0), text(4)])]
    gradients = []
    for batch in (samples[:1], samples):
        model = make_model()
        model.encode(collate(batch), "lm")[0][:3].square().sum().backward()
        gradients.append(model.core.blocks[0].attention.branch.qkv.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_renaming_nodes_renames_outputs():
    model = make_model()
    edges = torch.tensor([[0, 1, 1, 2, 3], [1, 2, 3, 3, 4]])
    order = torch.tensor([3, 0, 4, 1, 2])
    place = torch.argsort(order)
    graph = GRAPHS({"n_nodes": 5, "edges": edges.T.tolist()})
    renamed = GRAPHS({"n_nodes": 5, "edges": place[edges].T.tolist()})
    out, _ = model.encode(collate([Sample(id="g", pieces=[graph])]), "graph")
    moved, _ = model.encode(collate([Sample(id="g", pieces=[renamed])]), "graph")
    torch.testing.assert_close(moved, out[order], rtol=0, atol=1e-5)


def test_edges_of_a_graph_behind_other_pieces_join_its_own_nodes():
    model = make_model()
    graph = GRAPHS({"n_nodes": 3, "edges": [[0, 1], [1, 2]]})
    layout = model.layout(collate([Sample(id="a", pieces=[text(1, 2)]), Sample(id="b", pieces=[text(5), graph])]))
    assert {tuple(edge) for edge in layout.edges.T.tolist()} == {(3, 4), (4, 3), (4, 5), (5, 4)}


def test_distances_between_nodes_follow_them_into_a_mixed_sample():
    model, tokenizer = make_model(), GraphTokenizer(random_walk=3, shortest_path=5)
    graph = tokenizer({"n_nodes": 3, "edges": [[0, 1], [1, 2]]})
    samples = [
        Sample(id="a", pieces=[]),
        Sample(id="b", pieces=[text(1), graph]),
        Sample(id="c", pieces=[graph]),
        Sample(id="d", pieces=[text(2, 3)]),
    ]
    flat = model.layout(collate(samples)).pairs["shortest_path"].tolist()
    between = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    second = [[-1, -1, -1, -1], *([-1, *row] for row in between)]
    assert flat == [*chain(*second), *chain(*between), *[-1] * 4]
    alone = model.layout(collate(samples[2:3])).pairs["shortest_path"]
    assert alone.tolist() == [*chain(*between)]


def test_a_prefix_is_read_both_ways_and_the_rest_causally():
    model = make_model()
    pieces = [image(2, 2, 0), text(4, 5, 6)]
    out, _ = model.encode(collate([Sample(id="a", pieces=pieces, prefix=4)]), "prefix")
    changed, _ = model.encode(collate([Sample(id="a", pieces=[pieces[0], text(4, 5, 7)], prefix=4)]), "prefix")
    assert torch.equal(out[:6], changed[:6])
    other_image, _ = model.encode(collate([Sample(id="a", pieces=[image(2, 2, 1), pieces[1]], prefix=4)]), "prefix")
    assert not torch.isclose(out[0], other_image[0]).all()


def test_next_token_head_shares_the_embedders_table():
    model = make_model()
    assert model.heads["lm"].ids.weight is model.embedders["text"].table.weight


PAIRS = [
    Sample(id="a", pieces=[image(2, 2, 0), text(4, 5)], answer=[text(0, 6, 7, 8)]),
    Sample(id="b", pieces=[], answer=[text(0, 3)]),
    Sample(id="c", pieces=[text(9)], answer=[text(0, 1, 2)]),
]


def two_cores() -> list[OmniFormer]:
    """A model whose one core reads question and answer as one sequence, and one with an encoder and a decoder."""
    one, two = make_model(), make_model()
    torch.manual_seed(1)
    sizes = {"d_model": D_MODEL, "n_layers": 2, "n_heads": 2, "init_std": 0.2}
    two.core = EncoderDecoder(encoder=Transformer(**sizes), decoder=Transformer(**sizes, block=CrossBlock))
    return [one.eval(), two.eval()]


def shifted(tokens: Tokens, by: int) -> Tokens:
    return replace(tokens, positions=tokens.positions + by)


def test_an_answer_behind_what_is_given_equals_one_sequence():
    model = make_model()
    answered, _ = model.decode(collate(PAIRS), "prefix")
    whole = [
        Sample(id="a", pieces=[image(2, 2, 0), text(4, 5), shifted(text(0, 6, 7, 8), 2)], prefix=6),
        Sample(id="b", pieces=[text(0, 3)], prefix=0),
        Sample(id="c", pieces=[text(9), shifted(text(0, 1, 2), 1)], prefix=1),
    ]
    x, layout = model.encode(collate(whole), "prefix")
    ends = layout.offsets.tolist()
    expected = [x[ends[i] + sample.prefix : ends[i + 1]] for i, sample in enumerate(whole)]
    torch.testing.assert_close(answered, torch.cat(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("which", [0, 1], ids=["one core", "encoder and decoder"])
def test_an_answer_does_not_depend_on_its_own_future_but_on_everything_that_is_given(which):
    model = two_cores()[which]
    out, layout = model.decode(collate(PAIRS), "prefix")
    later = [Sample(id="a", pieces=PAIRS[0].pieces, answer=[text(0, 6, 7, 9)]), *PAIRS[1:]]
    changed, _ = model.decode(collate(later), "prefix")
    assert torch.equal(out[:3], changed[:3]) and not torch.equal(out[3], changed[3])
    other = [Sample(id="a", pieces=[image(2, 2, 1), text(4, 5)], answer=PAIRS[0].answer), *PAIRS[1:]]
    changed, _ = model.decode(collate(other), "prefix")
    assert not torch.isclose(out[:4], changed[:4]).all(1).any()
    assert torch.equal(out[4:], changed[4:])
    assert layout.lengths.tolist() == [4, 2, 3]


@pytest.mark.parametrize("which", [0, 1], ids=["one core", "encoder and decoder"])
def test_answers_written_step_by_step_over_a_cache_equal_one_pass(which):
    model = two_cores()[which]
    head = model.heads["prefix"]
    x, layout = model.decode(collate(PAIRS), "prefix")
    full = head(x, layout)
    begun = [Sample(id=s.id, pieces=s.pieces, answer=[text(*s.answer[0].values[:1].tolist())]) for s in PAIRS]
    cache = KVCache(n_layers=2, n_samples=3)
    x, layout = model.decode(collate(begun), "prefix", cache=cache)
    torch.testing.assert_close(head(x, layout), full[[0, 4, 6]], rtol=1e-5, atol=1e-5)
    # Text that was given before moves the coordinates of the answer in a joint sequence, not in one of its own.
    start = torch.tensor([2.0, 0.0, 1.0]) * (1 - which)
    logits = model.advance(torch.tensor([6, 3, 1]), start[:, None] + 1, cache, "prefix")
    torch.testing.assert_close(logits, full[[1, 5, 7]], rtol=1e-5, atol=1e-5)


def test_samples_without_an_answer_are_named():
    with pytest.raises(ValueError, match="'z' have no answer"):
        make_model().decode(collate([Sample(id="z", pieces=[text(1)])]), "lm")


def test_every_parameter_gets_a_gradient_from_a_batch_that_lacks_a_modality():
    model = make_model().train()
    empty = Tokens(values=torch.zeros(0, 4), positions=torch.zeros(0, 2), modality="vision")
    x, _ = model.encode(collate([Sample(id="a", pieces=[text(1, 2), empty])]), "lm")
    x.sum().backward()
    assert model.embedders["vision"].map.weight.grad is not None


def test_an_unknown_modality_is_named_with_its_sample():
    smell = Tokens(values=torch.zeros(2, 4), positions=torch.zeros(2, 1), modality="smell")
    with pytest.raises(
        ValueError, match="samples 'rose' hold modality 'smell' .2 tokens.; this model has embedders for text"
    ):
        make_model().encode(collate([Sample(id="rose", pieces=[smell])]))


def test_an_unknown_head_is_named():
    with pytest.raises(ValueError, match="no head named 'ful'; this model has full, graph"):
        make_model()(collate([Sample(id="a", pieces=[text(1)])]), "ful")


def test_a_head_that_is_called_as_modules_call_their_own_is_refused():
    with pytest.raises(ValueError, match="no part can be called 'train', which PyTorch's modules keep for themselves"):
        OmniFormer(
            core=Transformer(d_model=4, n_layers=1, n_heads=1),
            embedders={"vision": VectorEmbedder(d_model=4, features=2)},
            heads={"train": NextTokenHead(d_model=4, vocab_size=3, tied=False)},
        )


def test_a_tied_head_without_its_table_is_refused():
    with pytest.raises(ValueError, match="tied to the table of modality 'text'"):
        OmniFormer(
            core=Transformer(d_model=4, n_layers=1, n_heads=1),
            embedders={"vision": VectorEmbedder(d_model=4, features=2)},
            heads={"lm": NextTokenHead(d_model=4, vocab_size=3)},
        )


def test_ids_under_a_rule_that_sees_ahead_are_hidden_ones():
    sizes = {"d_model": 16, "vocab_size": 5}
    heads = {"next": NextTokenHead(**sizes, tied=False), "holes": NextTokenHead(**sizes, tied=False)}
    heads["kind"] = ClassificationHead(d_model=16, n_classes=2)
    core = Transformer(d_model=16, n_layers=1, n_heads=2)
    model = OmniFormer(core=core, embedders={}, heads=heads, rules={"next": Causal()})
    assert [model.makes(name) for name in heads] == ["ids", "hidden", None]


def test_one_graph_keeps_its_edges_from_batch_to_layout():
    graph = GRAPHS({"n_nodes": 3, "edges": [[0, 1], [1, 2]]})
    layout = make_model().layout(collate([Sample(id="a", pieces=[graph])]))
    assert layout.edges is graph.edges
