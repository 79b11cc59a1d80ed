"""Phi-3 and Phi-4 beside the reference library."""

import pytest
from decoders import SIZES, language_model_twin
from twins import transformers

LONG = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.1, 1.5],
    "long_factor": [1.0, 2.0, 4.0],
    "original_max_position_embeddings": 10,
}


def model(kind=transformers.Phi3ForCausalLM, **others):
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return kind(transformers.Phi3Config(**(SIZES | ids | others)))


@pytest.mark.parametrize(
    ("side", "others"),
    [
        ("right", {"sliding_window": 5}),
        (
            "left",
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.7}, "tie_word_embeddings": True},
        ),
    ],
    ids=["window", "a part of each head"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


@pytest.mark.parametrize("lengths", [(7,), (15,)], ids=["short", "long"])
def test_frequencies_are_those_of_the_length_of_the_text(lengths, tmp_path):
    theirs = model(rope_parameters=LONG, original_max_position_embeddings=10)
    # The reference computes all keys anew where a text grows beyond the length of the training: none does here.
    language_model_twin(theirs, tmp_path, lengths=lengths, new=3)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.Phi3Model), tmp_path)
