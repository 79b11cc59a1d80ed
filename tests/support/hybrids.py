"""What tests of sequence mixers beside attention share: stacks that hold them decode as they read, sample by sample."""

import torch

from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal


def decodes_as_it_reads(core, sizes):
    """Text in two pieces over a cache, its samples turned and repeated, beside all at once; the state never grows."""
    a, b = torch.randn(9, 8), torch.randn(4, 8)
    whole = core(torch.cat([a, b, b]), Layout.from_lengths(9, 4, 4), Causal())
    cache = KVCache(n_layers=3, n_samples=2)
    with torch.inference_mode():
        layout, _ = cache.extend(torch.tensor([6, 1]))
        first = core(torch.cat([a[:6], b[:1]]), layout, Causal(), cache=cache)
        torch.testing.assert_close(first, torch.cat([whole[:6], whole[9:10]]), rtol=1e-4, atol=1e-5)
        cache.reorder(torch.tensor([1, 0, 1]))
        for t in range(3):
            assert {name: rows.shape for name, rows in cache.layers[0].state.items()} == sizes
            layout, _ = cache.extend(torch.tensor([1, 1, 1]))
            out = core(torch.stack([b[1 + t], a[6 + t], b[1 + t]]), layout, Causal(), cache=cache)
            expected = torch.stack([whole[10 + t], whole[6 + t], whole[14 + t]])
            torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
        assert {name: rows.shape for name, rows in cache.layers[0].state.items()} == sizes


def keeps_samples_apart(core):
    """No gradient crosses from one sample to the one before it."""
    x = torch.randn(9, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(core(x, Layout.from_lengths(4, 5), Causal())[4:].sum(), x)
    assert not gradient[:4].any() and gradient[4:].any()
