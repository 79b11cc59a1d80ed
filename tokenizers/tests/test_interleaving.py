import pytest
import torch
from omniformer_tokenizers import Tokens, interleaved


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
