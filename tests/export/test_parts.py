from functools import partial

import pytest
import torch
from exporting import CORE, reader
from omniformer_tokenizers import pack

from omniformer.core.moe import MixtureOfExperts
from omniformer.core.positions import Learned, Sinusoidal
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Global, Modalities, Neighbours, RandomBlocks, Self
from omniformer.core.variants.additive import AdditiveAttention
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.embedders import ConvStem
from omniformer.export.entrance import Entrance
from omniformer.export.parts import EveryExpert, Numbers, PaddedStem, Places, refuse, traceable


@pytest.mark.parametrize("coordinates", ["index", "unit"])
@pytest.mark.parametrize("sizes", [[7], [4, 1], [3, 5]], ids=str)
def test_learned_places_are_read_as_ever(sizes, coordinates):
    learned = Learned(d_model=6, sizes=sizes, coordinates=coordinates, init_std=1.0)
    generator = torch.Generator().manual_seed(0)
    whole = torch.stack([torch.randint(size, (20,), generator=generator) for size in sizes], dim=1)
    between = torch.rand(20, len(sizes), generator=generator) * (torch.tensor(sizes) - 1)
    positions = torch.cat([whole, between])
    positions = positions if coordinates == "index" else torch.rand(40, len(sizes), generator=generator)
    torch.testing.assert_close(Places(learned)(positions), learned(positions))


def test_a_table_with_a_first_place_keeps_it():
    learned = Learned(d_model=6, sizes=[9], first=2)
    positions = torch.arange(7.0)[:, None]
    assert torch.equal(Places(learned)(positions), learned(positions))


def test_a_place_beyond_the_grid_is_an_error_and_no_other_place():
    with pytest.raises(IndexError, match="out of bounds"):
        Places(Learned(d_model=6, sizes=[4]))(torch.tensor([[4.0]]))


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_every_expert_computed_is_the_mixture_of_those_chosen(top_k):
    experts = MixtureOfExperts(8, n_experts=4, top_k=top_k)
    x = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(EveryExpert(experts)(x), experts(x))


@pytest.mark.parametrize("left", [False, True])
def test_a_sound_in_a_padded_row_is_heard_as_one_by_itself(left):
    stem = ConvStem(d_model=8, features=6, position=Sinusoidal)
    entrance = Entrance("audio", PaddedStem(stem), axes=1)
    sounds = [entrance.drawn(n, torch.Generator().manual_seed(n)) for n in (4, 0, 1, 7)]
    entered = entrance(entrance.fed(sounds, left=left))
    torch.testing.assert_close(entered.x[entered.valid], stem(pack(sounds)))


def test_parts_are_exchanged_and_weights_shared():
    model = reader(core=CORE(rotary=Rotary, feedforward=MixtureOfExperts), position=partial(Learned, sizes=[8]))
    found = traceable(model)
    kinds = [type(module) for module in found.modules()]
    assert {Numbers, Places, EveryExpert} <= set(kinds)
    assert Learned not in kinds
    assert {p.data_ptr() for p in found.parameters()} == {p.data_ptr() for p in model.parameters()}
    assert not any(p.requires_grad for p in found.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert Learned in [type(module) for module in model.modules()]


@pytest.mark.parametrize("attention", [LinearAttention, AdditiveAttention])
def test_attention_that_asks_for_lengths_is_refused_by_name(attention):
    with pytest.raises(ValueError, match=f"{attention.__name__} cannot be exported: it "):
        traceable(reader(core=CORE(attention=attention)))


def test_a_recurrent_core_is_refused_by_name():
    with pytest.raises(ValueError, match="core Recurrent cannot be exported: only a Transformer, Towers or"):
        traceable(reader(core=Recurrent(d_model=16, n_layers=1)))


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        (Neighbours() | Self(), "Neighbours cannot be exported: it follows the edges"),
        (Causal() & ~RandomBlocks(2, 1), "RandomBlocks cannot be exported"),
        (Modalities([[0]]), "Modalities cannot be exported"),
        (Global(feature="seen"), r"Global\(first=0, feature='seen'\) cannot be exported"),
    ],
    ids=["edges", "random", "modalities", "feature"],
)
def test_rules_that_read_what_does_not_come_in_are_refused_by_name(rule, named):
    with pytest.raises(ValueError, match=named):
        refuse(rule)
