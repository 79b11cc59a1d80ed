import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.layout import Layout
from omniformer.core.rules import (
    BlockWindow,
    Causal,
    Full,
    Global,
    Neighbours,
    Prefix,
    RandomBlocks,
    Reach,
    Self,
    Sinks,
    Strided,
    Window,
    all_of,
    any_of,
)

ATOMS = [
    Full(),
    Causal(),
    Self(),
    Window(2, 1),
    Window(left=3),
    Window(right=0),
    Sinks(2),
    Prefix(),
    Global(first=1),
    Global(feature="star"),
    Strided(3),
    BlockWindow(3, 1, 0),
    RandomBlocks(2, 2, seed=4),
    Neighbours(),
    Neighbours(hops=2),
]
RULES = st.recursive(
    st.sampled_from(ATOMS),
    lambda rules: st.one_of(
        st.builds(lambda a, b: a & b, rules, rules),
        st.builds(lambda a, b: a | b, rules, rules),
        st.builds(lambda a: ~a, rules),
    ),
    max_leaves=4,
)


@st.composite
def layouts(draw):
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
    n_tokens = sum(lengths)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    edges = []
    start = 0
    for length in lengths:
        if length:
            edges.append(torch.randint(start, start + length, (2, 2 * length), generator=generator))
        start += length
    return Layout(
        lengths=torch.tensor(lengths),
        prefix=torch.tensor([length // 3 for length in lengths]),
        edges=torch.cat([torch.zeros(2, 0, dtype=torch.long), *edges], dim=1),
        features={"star": torch.rand(n_tokens, generator=generator) < 0.2},
    )


@settings(max_examples=150, deadline=None)
@given(RULES, layouts())
def test_no_allowed_pair_lies_outside_what_the_rule_says_of_its_reach(rule, layout):
    mask, reach = rule.mask(layout), rule.reach()
    query, key = layout.view()[:, None], layout.view()[None, :]
    distance = key.index - query.index
    claimed = ((distance >= -reach.left) & (distance <= reach.right)) | (key.index < reach.sinks)
    if reach.scattered:
        if (rows := rule.rows(layout)) is not None:
            claimed = claimed | rows[:, None]
        if (columns := rule.columns(layout)) is not None:
            claimed = claimed | columns[None, :]
        for blocks in rule.blocks():
            chosen = blocks.chosen(query.index // blocks.size, -(-query.length // blocks.size))
            claimed = claimed | (chosen == (key.index // blocks.size)[..., None]).any(-1)
    assert not (mask & ~claimed).any()


@settings(max_examples=100, deadline=None)
@given(RULES, layouts())
def test_a_list_of_pairs_misses_no_allowed_pair_and_repeats_none(rule, layout):
    pairs = rule.pairs(layout)
    if pairs is None:
        return
    listed = list(map(tuple, pairs.t().tolist()))
    assert len(listed) == len(set(listed))
    assert set(map(tuple, rule.mask(layout).nonzero().tolist())) <= set(listed)


@settings(max_examples=100, deadline=None)
@given(RULES, layouts())
def test_a_band_is_exactly_the_rule(rule, layout):
    band = rule.band()
    if band is None:
        return
    assert torch.equal(rule.mask(layout), Window(band.left, band.right).mask(layout))


@settings(max_examples=60, deadline=None)
@given(RULES, RULES, layouts())
def test_rules_combine_as_their_masks_do(first, second, layout):
    same = layout.sample[:, None] == layout.sample[None, :]
    a, b = first.mask(layout), second.mask(layout)
    assert torch.equal((first & second).mask(layout), a & b)
    assert torch.equal((first | second).mask(layout), a | b)
    assert torch.equal((~first).mask(layout), ~a & same)


@settings(max_examples=60, deadline=None)
@given(RULES, layouts())
def test_no_rule_lets_samples_meet(rule, layout):
    assert not rule.mask(layout)[layout.sample[:, None] != layout.sample[None, :]].any()


def test_combined_rules_print_as_they_are_written():
    assert str(Causal() & (Window(left=4) | ~Sinks(2))) == "(Causal() & (Window(left=4) | ~Sinks(n=2)))"
    rules = {"a": Causal(), "b": Self()}
    assert str(any_of(rules)) == "(Causal() | Self())" and str(all_of(rules)) == "(Causal() & Self())"


def test_a_picture_keeps_samples_apart():
    assert Full().draw(Layout.from_lengths(1, 2)).splitlines() == ["■ · ·", "· ■ ■", "· ■ ■"]


@pytest.mark.parametrize(
    ("rule", "reach"),
    [
        (Causal() & Window(left=8), Reach(8, 0)),
        (Causal() & (Window(left=8) | Sinks(4)), Reach(8, 0, sinks=4)),
        (Window(2, 2) | Global(first=1), Reach(2, 2, scattered=True)),
        (Causal() | Prefix(), Reach(right=0, scattered=True)),
        (~Self(), Reach()),
    ],
)
def test_the_reach_of_a_combination_follows_from_its_parts(rule, reach):
    assert rule.reach() == reach


def test_the_opposite_of_the_opposite_is_the_rule_itself():
    rule = Causal()
    assert ~~rule is rule


def test_what_sees_ahead_is_asked_of_a_sample_without_prefix_and_edges():
    assert Full().sees_ahead() and Window(2, 1).sees_ahead() and (~Causal()).sees_ahead()
    assert not any(rule.sees_ahead() for rule in (Causal(), Causal() | Prefix(), Window(right=0), Neighbours()))
