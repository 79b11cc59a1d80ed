"""Tiny configurations of models that read raw sound, and sounds for them."""

import torch
from twins import twin

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
SIZES |= {"conv_dim": (8, 6, 10), "conv_kernel": (5, 3, 2), "conv_stride": (3, 2, 2), "vocab_size": 11}
SIZES |= {"num_feat_extract_layers": 3, "num_conv_pos_embeddings": 6, "num_conv_pos_embedding_groups": 4}
SIZES |= {"classifier_proj_size": 7}
BASE = {"feat_extract_norm": "group"}
LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}


def waves(n=2, time=190):
    """Random samples `[n, time]`."""
    return torch.randn(n, time, generator=torch.Generator().manual_seed(0))


def sounds(*lengths):
    """Random sounds of these lengths."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(length, generator=generator) for length in lengths]


def reads_as_the_reference(theirs, folder):
    """Outputs, gradients and the way back of a model of raw sound: its logits, or the tokens of a body."""

    body = type(theirs).__name__.endswith("Model")

    def pick(out):
        return out.last_hidden_state if body else out.logits

    loaded = twin(theirs, folder, pick, {"input_values": waves()})
    assert loaded.report.unexpected == ()
