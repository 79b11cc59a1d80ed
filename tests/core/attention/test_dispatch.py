import pytest
import torch

from omniformer.core.attention.dispatch import choose
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Global, Neighbours, Prefix, Self, Window, bigbird, longformer, mistral


def ring(n_tokens):
    token = torch.arange(n_tokens)
    return torch.stack([token, token.roll(1)])


@pytest.mark.parametrize(
    ("rule", "lengths", "kernel"),
    [
        (Full(), [4000], "dense"),
        (Causal(), [4000, 7], "dense"),
        (Causal() | Prefix(), [4000], "dense"),
        (mistral(window=128, sinks=4), [4000], "banded"),
        (longformer(window=128), [4000, 30], "banded"),
        (bigbird(), [8000], "banded"),
        # Too short for a band to pay.
        (mistral(window=128), [150, 40], "dense"),
        (Window(1000, 1000), [1500], "dense"),
        # Most tokens are global: every pair counts.
        (Window(4, 4) | Global(first=3000), [4000], "dense"),
        (Neighbours() | Self(), [5000], "edges"),
        (Neighbours() | Self(), [23] * 40, "edges"),
        # Every second pair is an edge: small blocks beat lists.
        (Neighbours() | Self(), [4] * 40, "dense"),
        (Neighbours(), [], "dense"),
    ],
    ids=str,
)
def test_the_cheapest_kernel_is_chosen(rule, lengths, kernel):
    layout = Layout(
        lengths=torch.tensor(lengths, dtype=torch.long),
        prefix=torch.zeros(len(lengths), dtype=torch.long),
        edges=torch.cat(
            [torch.zeros(2, 0, dtype=torch.long), *(ring(n) + sum(lengths[:i]) for i, n in enumerate(lengths))], dim=1
        ),
    )
    name, reason = choose(rule, layout, layout)
    assert name == kernel and reason


def test_keys_out_of_order_are_not_given_to_a_band():
    layout = Layout(lengths=torch.tensor([4000]), places=torch.arange(4000))
    assert choose(Window(2, 2), layout, layout)[0] == "dense"
