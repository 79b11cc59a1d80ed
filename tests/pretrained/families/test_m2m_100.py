"""M2M100 and NLLB beside the reference library."""

import pytest
import torch
from decoders import answers_alike
from twins import ragged_pair, transformers, twin

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
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
}


def model(kind=transformers.M2M100ForConditionalGeneration, **others):
    theirs = kind(transformers.M2M100Config(**(SIZES | others)))
    if hasattr(theirs, "final_logits_bias"):
        theirs.final_logits_bias.copy_(torch.linspace(-1, 1, theirs.final_logits_bias.shape[1])[None])
    return theirs


@pytest.mark.parametrize(
    "others", [{}, {"scale_embedding": False, "activation_function": "swish", "decoder_layers": 2}]
)
def test_logits_gradients_answers_and_the_way_back(others, tmp_path):
    # The reference takes no gradient from the id of padding.
    inputs, mask = ragged_pair(29, least=2)
    theirs = model(**others)
    loaded = twin(theirs, tmp_path, lambda out: out.logits, inputs, mask)
    assert loaded.report.unexpected == ()
    answers_alike(theirs, loaded, start=2)


def test_the_part_below_the_head(tmp_path):
    inputs, mask = ragged_pair(29, least=2)
    twin(model(transformers.M2M100Model), tmp_path, lambda out: out.last_hidden_state, inputs, mask)
