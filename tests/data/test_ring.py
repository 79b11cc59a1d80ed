import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data.ring import Held, Ring


@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=20), st.integers(-50, 50), st.integers(-50, 50), st.data())
def test_a_stretch_is_what_counting_round_and_round_gives(ids, turned, first, data):
    n = data.draw(st.integers(0, len(ids)))
    ring = Ring(Held(np.array(ids, np.uint16)), turned=turned)
    assert ring.cut(first, n).tolist() == [ids[(first + turned + i) % len(ids)] for i in range(n)]


def test_each_document_stands_behind_the_end_of_the_one_before():
    ring = Ring.of([np.array([3, 4]), np.array([], np.int64), np.array([5])], end=9)
    assert ring.cut(0, len(ring)).tolist() == [9, 3, 4, 9, 9, 5]
