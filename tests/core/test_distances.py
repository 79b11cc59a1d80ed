import math

import pytest
import torch

from omniformer.core.distances import DistanceVectors
from omniformer.core.layout import Layout


def bucket(distance, n_buckets, max_distance):
    """A distance at a time, in double precision."""
    near = n_buckets // 2
    if abs(distance) <= near:
        return distance
    share = math.log(abs(distance) / near) / math.log((max_distance - 1) / near)
    far = near + math.ceil(share * (near - 1))
    return far if distance > 0 else -far


@pytest.mark.parametrize(("n_buckets", "max_distance"), [(8, 32), (256, 512), (6, 5)])
def test_far_distances_share_vectors(n_buckets, max_distance):
    vectors = DistanceVectors(d_model=2, n_buckets=n_buckets, max_distance=max_distance)
    # The last one before `max_distance` is a border, which two precisions may see on either side.
    distances = [each for each in range(-700, 701) if abs(each) != max_distance - 1]
    expected = [bucket(each, n_buckets, max_distance) + n_buckets for each in distances]
    found = vectors.row(torch.tensor(distances)).tolist()
    assert found == [min(max(each, 0), 2 * n_buckets - 1) for each in expected]


def test_without_a_longest_distance_each_has_its_own_up_to_the_last():
    vectors = DistanceVectors(d_model=2, n_buckets=3, max_distance=None)
    assert vectors.row(torch.arange(-5, 6)).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5]


@pytest.mark.parametrize("lengths", [(4, 0, 2), (40,), (0,), ()])
def test_only_distances_that_occur_are_handed_on_and_pairs_find_theirs(lengths):
    vectors, layout = DistanceVectors(d_model=2, n_buckets=8, max_distance=32), Layout.from_lengths(*lengths)
    found = vectors(layout, layout)
    longest = max(lengths, default=0)
    assert len(found.vectors) == (7 if longest == 4 else 16 if longest == 40 else 1)
    view = layout.view()
    row = found.row(view[:, None], view[None, :])
    own = layout.sample[:, None] == layout.sample
    expected = vectors.table[vectors.row(layout.index[:, None] - layout.index)]
    torch.testing.assert_close(found.vectors[row][own], expected[own], rtol=0, atol=0)


@pytest.mark.parametrize(("n_buckets", "max_distance"), [(1, 9), (8, 5)])
def test_buckets_that_cannot_be_are_refused(n_buckets, max_distance):
    with pytest.raises(ValueError, match=f"n_buckets={n_buckets} must be at least 2, and max_distance={max_distance}"):
        DistanceVectors(d_model=2, n_buckets=n_buckets, max_distance=max_distance)
