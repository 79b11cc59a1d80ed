"""Where tokens lie; that decoding through these places is right stands in test_cache.py."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.cache import KVCache, SlidingCache, StaticCache


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=6),
    window=st.integers(1, 4),
    sinks=st.integers(0, 2),
)
def test_a_step_reads_what_a_list_with_the_same_rule_of_forgetting_holds(steps, window, sinks):
    cache = SlidingCache(n_layers=1, n_samples=3, window=window, sinks=sinks)
    everything = KVCache(n_layers=1, n_samples=3)
    lists, done = [[], [], []], [0, 0, 0]
    for step in steps:
        before = [[i for i in held if i < sinks or i >= done[s] - window] for s, held in enumerate(lists)]
        new = [list(range(done[s], done[s] + n)) for s, n in enumerate(step)]
        # Each token carries its own number, 1000 a sample.
        marks = torch.tensor([1000.0 * s + i for s in range(3) for i in new[s]]).view(-1, 1, 1)
        outs = []
        for each in (cache, everything):
            each.extend(torch.tensor(step))
            k, _ = each.layers[0].append(marks, marks)
            outs.append((k.flatten().tolist(), each.seen))
        done = [d + n for d, n in zip(done, step, strict=True)]
        (read, seen), (whole, all_seen) = outs
        lists = [held + fresh for held, fresh in zip(before, new, strict=True)]
        assert whole == [1000.0 * s + i for s in range(3) for i in range(done[s])]
        assert all_seen.lengths.tolist() == done
        assert read == [1000.0 * s + i for s, i in zip(seen.sample.tolist(), seen.index.tolist(), strict=True)]
        for s in range(3):
            held = sorted(seen.index[seen.sample == s].tolist())
            # Whatever the newest token may still read must be there, and nothing that never was.
            needed = {
                i for first in new[s] or [done[s]] for i in range(max(0, first - window + 1), first + 1) if i < done[s]
            }
            assert needed | set(range(min(sinks, done[s]))) <= set(held) <= set(lists[s])
            assert len(held) == len(set(held))


def test_a_cache_that_grows_token_by_token_holds_them_all():
    cache, new = KVCache(n_layers=1, n_samples=2), torch.randn(40, 2, 3, 8)
    for i, each in enumerate(new):
        cache.extend(torch.tensor([1, 1]))
        k, v = cache.layers[0].append(each, -each)
        assert torch.equal(k, new[: i + 1].transpose(0, 1)) and torch.equal(v, -k)


def test_the_keys_of_a_head_lie_one_after_the_other_also_once_samples_are_reordered():
    cache = StaticCache(n_layers=1, n_samples=2, capacity=4)
    new = torch.randn(6, 3, 8)
    cache.extend(torch.tensor([3, 3]))
    k, _ = cache.layers[0].append(new, new)
    assert k.stride()[1:] == (8, 4 * 8, 1)
    cache.reorder(torch.tensor([1, 1, 0]))
    cache.extend(torch.tensor([1, 1, 1]))
    more = torch.randn(3, 3, 8)
    k, _ = cache.layers[0].append(more, more)
    assert k.stride()[1:] == (8, 4 * 8, 1)
    rows = new.view(2, 3, 3, 8)[[1, 1, 0]]
    assert torch.equal(k, torch.cat([rows, more[:, None]], 1))
