"""What of a model can be adapted, and what its names are."""

from functools import partial

from omniformer.adapters.places import places
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.transformer import Transformer
from omniformer.core.variants.reformer import ReformerAttention


def names(**options):
    core = Transformer(d_model=8, n_layers=1, n_heads=2, **options)
    return {path.rpartition(".")[2]: place for path, place in places(core).items()}


def test_rows_of_every_place_lie_side_by_side_and_fill_their_maps():
    core = Transformer(d_model=8, n_layers=2, n_heads=4, n_kv_heads=2)
    found = places(core)
    fused = {place.linear: place for place in found.values() if place.fused}
    for linear, whole in fused.items():
        parts = sorted((each.first, each.last) for each in found.values() if each.linear == linear and not each.fused)
        assert parts == [(0, 8), (8, 12), (12, 16)]
        assert whole.last == 16


def test_a_layer_of_another_kind_says_itself_what_its_rows_mean():
    found = names(attention=ReformerAttention)
    assert (found["query"].linear, found["query"].first, found["query"].last) == (
        "blocks.0.attention.branch.qk_v",
        0,
        8,
    )
    assert (found["value"].first, found["value"].last) == (8, 16)


def test_experts_and_their_router_are_no_places():
    found = names(feedforward=partial(MixtureOfExperts, n_experts=2))
    assert not {"router", "gate", "up", "down"} & set(found)
