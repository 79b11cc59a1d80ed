"""What the twins of mBART, PEGASUS and M2M100 share: sizes that differ, a bias, and one comparison."""

import torch
from decoders import answers_alike
from twins import ragged_pair, twin

SIZES = {
    "vocab_size": 29,
    "d_model": 24,
    "max_position_embeddings": 16,
    "encoder_layers": 2,
    "encoder_ffn_dim": 20,
    "encoder_attention_heads": 3,
    "decoder_layers": 1,
    "decoder_ffn_dim": 28,
    "decoder_attention_heads": 2,
    "dropout": 0.0,
}


def theirs_of(kind, config, **others):
    """A model of the reference library; where its scores have a bias, each id gets another one."""
    theirs = kind(config(**(SIZES | others)))
    if hasattr(theirs, "final_logits_bias"):
        theirs.final_logits_bias.copy_(torch.linspace(-1, 1, theirs.final_logits_bias.shape[1])[None])
    return theirs


def translates_alike(theirs, folder):
    """Logits, gradients, the way back and answers of a model with its head."""
    # The reference takes no gradient from the id of padding.
    inputs, mask = ragged_pair(29, least=2)
    loaded = twin(theirs, folder, lambda out: out.logits, inputs, mask)
    assert loaded.report.unexpected == ()
    answers_alike(theirs, loaded, start=2)


def reads_alike(theirs, folder):
    """Vectors and gradients of a model without its head."""
    inputs, mask = ragged_pair(29, least=2)
    twin(theirs, folder, lambda out: out.last_hidden_state, inputs, mask)
