import pytest
import torch
from omniformer_tokenizers import Tokens, interleaved
from omniformer_tokenizers.interleaving import tiles_apart


def text(*ids):
    return Tokens(
        values=torch.tensor(ids, dtype=torch.long),
        positions=torch.arange(float(len(ids)))[:, None],
        features={"written": torch.tensor(ids) > 6},
        modality="text",
    )


def picture(n, value):
    return Tokens(values=torch.full((n, 2), value), positions=torch.zeros(n, 2), modality="vision")


def test_each_placeholder_gives_its_place_to_what_it_stands_for_in_order():
    found = interleaved(
        text(0, 5, 7, 0, 0, 8), {"vision": [picture(2, 1.0), picture(3, 2.0), picture(1, 3.0)]}, {"vision": 0}
    )
    assert [each.modality for each in found] == ["vision", "text", "vision", "vision", "text"]
    assert [float(found[i].values[0, 0]) for i in (0, 2, 3)] == [1.0, 2.0, 3.0]
    words = [found[1], found[4]]
    assert [each.values.tolist() for each in words] == [[5, 7], [8]]
    # The text's own tokens are counted, as when it stands alone.
    assert [each.positions.flatten().tolist() for each in words] == [[0, 1], [2]]
    assert [each.features["written"].tolist() for each in words] == [[False, True], [True]]


def test_a_text_without_places_stays_whole():
    (found,) = interleaved(text(5, 7), {}, {"vision": 0})
    assert found.values.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("ids", "pictures", "places"), [((5, 0), 0, {"vision": 0}), ((5, 7), 1, {"vision": 0}), ((5, 7), 1, {})]
)
def test_more_or_fewer_than_places_are_refused(ids, pictures, places):
    with pytest.raises(ValueError, match=rf"the text has {ids.count(0)} places for vision, received {pictures} of it"):
        interleaved(text(*ids), {"vision": [picture(1, 1.0)] * pictures}, places)


def tiled(rows, columns, n, value):
    """A picture of tiles of n tokens each."""
    number = torch.arange(float(max(rows * columns, 0) + 1)).repeat_interleave(n)
    positions = torch.stack([number, torch.zeros(len(number)), torch.zeros(len(number))], dim=1)
    return Tokens(
        values=torch.full((len(number), 2), value) + number[:, None],
        positions=positions,
        facts={"tiles": torch.tensor([rows, columns])},
        modality="vision",
    )


def test_tiles_stand_in_the_words_around_them():
    def spelled(rows, columns):
        return [50, 0, 51] if not rows else [*([60, 0] * columns), 61] * rows + [62, 0, 63]

    pictures = [tiled(1, 2, 2, 10.0), tiled(0, 0, 3, 20.0)]
    found, tiles = tiles_apart(text(5, 0, 8, 0), pictures, 0, spelled)
    assert found.values.tolist() == [5, 60, 0, 60, 0, 61, 62, 0, 63, 8, 50, 0, 51]
    assert found.features["written"].tolist() == [i == 9 for i in range(13)]
    pieces = interleaved(found, {"vision": tiles}, {"vision": 0})
    seen = [each for each in pieces if each.modality == "vision"]
    assert [float(each.values[0, 0]) for each in seen] == [10, 11, 12, 20] and [len(each) for each in seen] == [
        2,
        2,
        2,
        3,
    ]
    assert torch.cat([each.positions for each in pieces if each.modality == "text"]).flatten().tolist() == list(
        range(9)
    )


def test_tiles_without_places_are_told_as_ever():
    found, tiles = tiles_apart(text(5, 0), [], 0, lambda *_: [1])
    with pytest.raises(ValueError, match="the text has 1 places for vision, received 0 of it"):
        interleaved(found, {"vision": tiles}, {"vision": 0})
