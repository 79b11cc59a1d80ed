"""What is kept of rows comes back as it was, and rows that belong together are in one set."""

import hashlib
import pickle
import random

import numpy as np

from omniformer.data.table.seen import Seen, Texts
from omniformer.data.table.splits import bound


def digest(content):
    return hashlib.blake2b(str(content).encode(), digest_size=12).digest()


def made(rows, *, named=True):
    seen = Seen(n_values=1, named=named)
    for i, (content, group, split) in enumerate(rows):
        seen.add(10 * i, split, [f"class {content}", "every"], [i / 2], digest(content), group)
    return seen


def test_rows_come_back_as_they_were():
    seen = made([("a", "g", "train"), ("b", "h", None), ("a", "ü", "test")])
    assert list(seen.index) == [0, 10, 20] and seen.names(1) == ("class b", "every")
    assert [seen.key(i) for i in range(3)] == ["g", "h", "ü"] and seen.content(0) == digest("a").hex()
    assert seen.of("train").tolist() == [0] and seen.of(None).tolist() == [1]
    seen.put(seen.of(None), ["val"])
    assert seen.of("val").tolist() == [1] and seen.values(seen.of("val")).tolist() == [[0.5]]
    assert seen.classes("test") == {"class a", "every"}
    assert seen.repeats() == 1 and seen.leaks() == {"test": 1}
    assert pickle.loads(pickle.dumps(seen)).names(2) == seen.names(2)


def test_classes_that_are_not_known_are_found_and_their_rows_left_out():
    seen = made([("a", "g", "train"), ("b", "h", "val"), ("c", "h", "test")])
    assert seen.strange(["class a", "every"]) == {1: "class b", 2: "class c"}
    kept = seen.without([1])
    assert list(kept.index) == [0, 20] and kept.names(1) == ("class c", "every") and kept.of("test").tolist() == [1]


def test_sets_are_those_of_a_slow_search():
    chance = random.Random(0)
    for grouped in (True, False):
        rows = [(chance.randrange(20), f"g{chance.randrange(25)}", None) for _ in range(30)]
        places = np.array(sorted(chance.sample(range(30), 20)))
        ours = made(rows).sets(places, grouped=grouped)
        keys = [(f"content {rows[i][0]}", rows[i][1]) if grouped else (f"content {rows[i][0]}",) for i in places]
        theirs = bound(keys)
        assert [[a == b for b in ours] for a in ours] == [[a == b for b in theirs] for a in theirs]


def test_texts_of_any_letters_stay():
    texts = Texts()
    for text in ("", "a", "ü\ud800", "c"):
        texts.append(text)
    assert list(texts) == ["", "a", "ü\ud800", "c"] and texts[-1] == "c" and texts[1:3] == ["a", "ü\ud800"]
