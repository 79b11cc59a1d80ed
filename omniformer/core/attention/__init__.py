"""Attention: one kernel a file behind one plan, and the layers that use them.

`plan.py` lowers a rule for a batch to a kernel, which `dispatch.py` chooses; `reference.py` is what all kernels equal.
Samples are packed, so a kernel that wants matrices cuts them out of the pack first, each in its own shape:

- rows (`rows.py`): stretches of a pack as rows of token numbers, short ones filled up; all others are made of them.
- blocks (`blocks.py`): some queries, some keys and a mask between them, many of one size at a time.
- dense (`dense.py`): whole samples as blocks, sorted into a few buckets by length. For every rule.
- banded (`banded.py`): stretches of queries with the keys near them as blocks. For rules of bounded reach.
- padded and chunks (`variants/padded.py`, `chunks.py`): all samples as one block, where scores are written
  out; samples as rows of one size, where sums run along them. For layers that no kernel serves.

`edges.py` walks a list of pairs instead, `varlen.py` and `flex.py` hand the pack to a fused kernel, and `meta.py`
computes shapes alone.
"""
