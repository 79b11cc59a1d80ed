import pytest
import torch

from omniformer.core import Transformer
from omniformer.core.cache import KVCache, SlidingCache
from omniformer.core.layout import Layout
from omniformer.core.multimodal_rotary import MultimodalRotary
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal
from omniformer.core.sectioned_rotary import SectionedRotary


def grid(time, rows, columns):
    """The places of the patches of a picture."""
    return [[float(t), float(r), float(c)] for t in range(time) for r in range(rows) for c in range(columns)]


# Words as their number, pictures as time, rows and columns.
SAMPLES = [[3, (1, 2, 3), 2, (1, 1, 1), (2, 3, 1), 1], [], [4], [(4, 2, 2), 1]]


def layout_of(samples):
    positions, modality, lengths = [], [], []
    for sample in samples:
        before = len(positions)
        for piece in sample:
            own = [[7.0, 0.0, 0.0]] * piece if isinstance(piece, int) else grid(*piece)
            positions += own
            modality += [0 if isinstance(piece, int) else 1] * len(own)
        lengths.append(len(positions) - before)
    return Layout(lengths=torch.tensor(lengths), positions=torch.tensor(positions), modality=torch.tensor(modality))


def slowly(samples):
    """Where tokens lie, piece by piece."""
    found = []
    for sample in samples:
        start = 0
        for piece in sample:
            if isinstance(piece, int):
                found += [[start + i] * 3 for i in range(piece)]
                start += piece
            else:
                found += [[start + int(each) for each in place] for place in grid(*piece)]
                start += max(piece[1:])
    return found


def rotary(head_dim=8, **options):
    return MultimodalRotary(head_dim=head_dim, sections=[1, 1, 2], **options)


def test_words_count_on_behind_the_longer_side_of_a_picture():
    layout = layout_of(SAMPLES)
    assert rotary().coordinates(layout).tolist() == slowly(SAMPLES)
    x = torch.randn(layout.n_tokens, 2, 8)
    known = Layout(lengths=layout.lengths, positions=torch.tensor(slowly(SAMPLES)).float())
    assert torch.equal(rotary()(layout)(x), SectionedRotary(head_dim=8, sections=[1, 1, 2])(known)(x))


def test_texts_alone_turn_as_ever():
    layout, x = Layout.from_lengths(3, 0, 2), torch.randn(5, 1, 8)
    assert torch.equal(rotary()(layout)(x), Rotary(head_dim=8)(layout)(x))


def test_what_is_read_piece_by_piece_over_a_cache_is_what_is_read_at_once():
    torch.manual_seed(0)
    core = Transformer(d_model=16, n_layers=2, n_heads=2, rotary=rotary).eval()
    layout = layout_of(SAMPLES)
    x = torch.randn(layout.n_tokens, 16)
    whole = core(x, layout, Causal()).split(layout.lengths.tolist())
    cache = KVCache(n_layers=2, n_samples=4)
    tokens = torch.arange(layout.n_tokens).split(layout.lengths.tolist())
    found = [[] for _ in tokens]
    for first, last in ((0, 7), (7, 11), (11, 12), (12, 99)):
        own = [each[first:last] for each in tokens]
        new = torch.cat(own)
        lengths = torch.tensor([len(each) for each in own])
        announced, _ = cache.extend(lengths, positions=layout.positions[new], modality=layout.modality[new])
        for place, part in zip(
            found, core(x[new], announced, Causal(), cache=cache).split(lengths.tolist()), strict=True
        ):
            place.append(part)
    for ours, once in zip(found, whole, strict=True):
        torch.testing.assert_close(torch.cat(ours), once)


def test_tokens_that_processes_have_divided_between_them_lie_where_they_lie_in_the_whole():
    layout = layout_of(SAMPLES)
    mine = torch.arange(layout.n_tokens)[1::3]
    part = Layout(
        lengths=layout.sample[mine].bincount(minlength=4),
        places=layout.index[mine],
        positions=layout.positions[mine],
        modality=layout.modality[mine],
    )
    assert torch.equal(rotary()(part, layout).cos, rotary()(layout).cos[mine])


def test_a_cache_that_forgets_pictures_is_refused():
    cache = SlidingCache(n_layers=1, n_samples=1, window=2)
    for _ in range(3):
        new, seen = cache.extend(torch.tensor([1]), positions=torch.zeros(1, 3), modality=torch.zeros(1).long())
    with pytest.raises(ValueError, match=r"of earlier tokens the cache holds \[2\] alone.*cache='growing'"):
        rotary()(new, seen)


def test_patches_without_time_row_and_column_or_without_a_beginning_are_refused():
    picture = torch.ones(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"patches have 2 axes, sections=\[1, 1, 2\] need 3"):
        rotary()(Layout(lengths=torch.tensor([2]), positions=torch.zeros(2, 2), modality=picture))
    with pytest.raises(ValueError, match="token 0 is a patch whose picture begins nowhere"):
        rotary()(Layout(lengths=torch.tensor([2]), positions=torch.ones(2, 3), modality=picture))


def test_which_modality_lies_on_a_grid_is_told():
    layout = layout_of([[2, (1, 2, 2), 1]])
    other = Layout(lengths=layout.lengths, positions=layout.positions, modality=3 * layout.modality)
    assert rotary(grids=[3]).coordinates(other).tolist() == slowly([[2, (1, 2, 2), 1]])
    assert rotary().coordinates(other)[:, 0].tolist() == list(range(7))


def test_what_a_text_costs_is_counted_without_numbers():
    nothing = {"positions": torch.zeros(3, 1, device="meta"), "modality": torch.zeros(3, device="meta").long()}
    layout = Layout(lengths=torch.tensor([3]), **nothing, device="meta")
    assert rotary().to("meta")(layout).cos.shape == (3, 1, 8)
