import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Alike, Window


def test_a_token_attends_to_those_of_its_sample_with_the_same_value():
    values = [3, 3, 5, 5, 3, 3]
    pairs = list(zip(values, [0, 0, 0, 0, 0, 1], strict=True))
    layout = Layout(lengths=torch.tensor([5, 1]), features={"window": torch.tensor(values)})
    same = [[a == b and s == t for b, t in pairs] for a, s in pairs]
    assert Alike(feature="window").mask(layout).tolist() == same
    near = Alike(feature="window") & Window(left=1, right=1)
    assert near.mask(layout)[0].tolist() == [True, True, False, False, False, False]
    assert not near.hides() and near.reach().left == 1


def test_a_layout_without_the_feature_is_refused():
    with pytest.raises(ValueError, match=r"reads the layout's features\['window'\]"):
        Alike(feature="window").mask(Layout.from_lengths(2))
