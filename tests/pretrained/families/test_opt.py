"""OPT beside the reference library."""

import pytest
from decoders import language_model_twin
from twins import transformers

from omniformer.pretrained import family_of


def model(kind=transformers.OPTForCausalLM, **others):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "ffn_dim": 40, "vocab_size": 29}
    ids = {"max_position_embeddings": 32, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return kind(transformers.OPTConfig(**(sizes | ids | {"dropout": 0.0} | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("side", "others"),
    [
        ("right", {}),
        ("left", {"do_layer_norm_before": False, "activation_function": "gelu"}),
        ("right", {"enable_bias": False, "layer_norm_elementwise_affine": False, "tie_word_embeddings": False}),
    ],
    ids=["pre-norm", "post-norm", "without offsets"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.OPTModel), tmp_path)


@pytest.mark.parametrize(
    ("others", "message"),
    [({"word_embed_proj_dim": 512}, "word_embed_proj_dim=512; accepted: None, 768"), ({"layerdrop": 0.1}, "layerdrop")],
)
def test_what_the_core_cannot_express_is_refused_by_name(others, message):
    with pytest.raises(ValueError, match=message):
        _ = family_of({"model_type": "opt", **others}).recipe
