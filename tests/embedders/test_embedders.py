from dataclasses import replace
from functools import partial

import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, PatchTokenizer, Tokens, pack
from torch.nn import functional as F

from omniformer.config import build
from omniformer.core.norm import LayerNorm
from omniformer.core.positions import Learned, Sinusoidal
from omniformer.embedders import ClassTokenEmbedder, IdEmbedder, Maskable, NodeEmbedder, VectorEmbedder


class Doubling(torch.nn.Module):
    """A position module whose vectors are easy to know: the first coordinate, everywhere."""

    def __init__(self, *, d_model: int, n_axes: int) -> None:
        super().__init__()
        self.d_model, self.n_axes = d_model, n_axes

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return positions[:, :1].expand(-1, self.d_model)


def ids(*values: int) -> Tokens:
    return Tokens(
        values=torch.tensor(values, dtype=torch.long),
        positions=torch.arange(len(values))[:, None].float(),
        modality="text",
    )


def test_ids_are_rows_of_the_table_scaled_and_moved_by_their_position():
    embedder = IdEmbedder(d_model=4, vocab_size=6, position=Doubling, scale=2.0)
    out = embedder(pack([ids(3, 1), ids(), ids(5)]))
    expected = [2 * embedder.table.weight[3], 2 * embedder.table.weight[1] + 1, 2 * embedder.table.weight[5]]
    torch.testing.assert_close(out, torch.stack(expected))


def test_segments_are_added_before_the_norm_and_are_the_first_where_none_are_given():
    embedder = IdEmbedder(d_model=4, vocab_size=6, segments=2, norm=LayerNorm)
    table, segments = embedder.table.weight, embedder.segments.weight
    told = replace(ids(3, 1), features={"segment": torch.tensor([0, 1])})
    expected = F.layer_norm(torch.stack([table[3] + segments[0], table[1] + segments[1]]), (4,))
    torch.testing.assert_close(embedder(pack([told])), expected)
    expected = F.layer_norm(torch.stack([table[3] + segments[0], table[1] + segments[0]]), (4,))
    torch.testing.assert_close(embedder(pack([ids(3, 1)])), expected)


@pytest.mark.parametrize("embedder", ["IdEmbedder", "VectorEmbedder"])
def test_a_norm_can_be_described_in_a_configuration_that_knows_the_width(embedder):
    norm = {"_target_": "omniformer.core.norm.LayerNorm", "_partial_": True, "eps": 1e-3}
    sizes = {"vocab_size": 6} if embedder == "IdEmbedder" else {"features": 3}
    node = {"_target_": f"omniformer.embedders.{embedder}", **sizes, "norm": norm}
    assert build(node, "embedder", d_model=4).norm.eps == 1e-3


@pytest.mark.parametrize(
    ("position", "longest"),
    [(None, None), (Sinusoidal, None), (partial(Learned, sizes=[16]), 16), (partial(Learned, sizes=[16], first=2), 14)],
    ids=["none", "sines", "learned", "learned, from the third row"],
)
def test_a_table_of_positions_says_how_long_a_text_may_be(position, longest):
    assert IdEmbedder(d_model=4, vocab_size=6, position=position).max_tokens == longest


def test_patches_equal_a_strided_convolution():
    image = torch.rand(3, 8, 12)
    tokenizer = PatchTokenizer(patch_size=4, channels=3, mean=[0.0], std=[1.0])
    embedder = VectorEmbedder(d_model=5, features=48, axes=2)
    torch.nn.init.normal_(embedder.map.bias)
    kernel = embedder.map.weight.view(5, 3, 4, 4)
    expected = F.conv2d(image[None], kernel, embedder.map.bias, stride=4)[0].flatten(1).T
    torch.testing.assert_close(embedder(pack([tokenizer(image)])), expected, rtol=1.3e-6, atol=1e-5)


def test_an_absent_modality_gives_zero_gradients_not_missing_ones():
    embedder = VectorEmbedder(d_model=5, features=3)
    empty = Tokens(values=torch.zeros(0, 3), positions=torch.zeros(0, 1), modality="audio")
    embedder(pack([empty])).sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in embedder.parameters())


def test_nodes_add_up_what_is_known_of_them():
    graph = {"n_nodes": 3, "edges": [[0, 1], [1, 2]]}
    tokenizer = GraphTokenizer(random_walk=2, laplacian=1)
    packed = pack([tokenizer(graph)])
    facts = {name: tokenizer.facts[name] for name in ("vocab_sizes", "max_degree", "laplacian", "random_walk")}
    embedder = NodeEmbedder(d_model=4, **facts)
    expected = embedder.fields[0].weight[[0, 0, 0]] + embedder.degree.weight[[1, 2, 1]]
    expected = expected + embedder.maps["random_walk"](packed.features["random_walk"])
    expected = expected + embedder.maps["laplacian"](packed.features["laplacian"])
    torch.testing.assert_close(embedder(packed), expected)
    active = NodeEmbedder(d_model=4, **facts, activation="relu")
    active.load_state_dict(embedder.state_dict())
    torch.testing.assert_close(active(packed), expected.relu())


def test_a_node_of_which_nothing_is_known_is_refused():
    with pytest.raises(ValueError, match="at least one of vocab_sizes"):
        NodeEmbedder(d_model=4)


@pytest.mark.parametrize("n_samples", [0, 2])
@pytest.mark.parametrize(
    "build",
    [
        lambda: IdEmbedder(d_model=4, vocab_size=6, position=partial(Learned, sizes=[8]), segments=2, norm=LayerNorm),
        lambda: ClassTokenEmbedder(d_model=4, embedder=IdEmbedder(d_model=4, vocab_size=6), norm=LayerNorm),
        lambda: Maskable(d_model=4, embedder=IdEmbedder(d_model=4, vocab_size=6)),
    ],
    ids=["ids", "class tokens", "maskable"],
)
def test_without_a_token_every_weight_of_an_embedder_has_a_gradient_of_zero(build, n_samples):
    embedder = build()
    empty = replace(ids(), features={"class_token": torch.zeros(0, dtype=torch.long)})
    packed = replace(pack([empty]), lengths=torch.zeros(n_samples, dtype=torch.long))
    embedder(packed).sum().backward()
    missing = [name for name, weight in embedder.named_parameters() if weight.grad is None or weight.grad.any()]
    assert missing == []
