"""Longformer's attention, its global projections set to the local ones: plain attention by a rule."""

import pytest
import torch

from omniformer.core.attention.banded import Banded
from omniformer.core.attention.reference import Reference
from omniformer.core.layout import Layout
from omniformer.core.rules import longformer


@pytest.mark.parametrize("kernel", [Banded, Reference])
def test_longformer_attends_as_hugging_face_s_does(kernel):
    transformers = pytest.importorskip("transformers")
    longformer_module = pytest.importorskip("transformers.models.longformer.modeling_longformer")
    config = transformers.LongformerConfig(
        hidden_size=16, num_attention_heads=2, attention_window=[8], attention_probs_dropout_prob=0.0
    )
    layer = longformer_module.LongformerSelfAttention(config, 0)
    for name in ("query", "key", "value"):
        getattr(layer, f"{name}_global").load_state_dict(getattr(layer, name).state_dict())
    x = torch.randn(1, 96, 16)
    mask = torch.zeros(1, 96)
    mask[:, :2] = 1e4  # its sign for global tokens
    theirs = layer(
        x, attention_mask=mask, is_index_masked=mask < 0, is_index_global_attn=mask > 0, is_global_attn=True
    )[0]
    q, k, v = (getattr(layer, name)(x)[0].view(96, 2, 8) for name in ("query", "key", "value"))
    layout = Layout.from_lengths(96)
    ours = kernel(longformer(window=8, n_global=2), layout, layout)(q, k, v, scale=8**-0.5).flatten(1)
    torch.testing.assert_close(ours, theirs[0], rtol=1.3e-6, atol=1e-5)
