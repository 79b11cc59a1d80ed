"""SmolLM3 beside the reference library."""

import decoders
import pytest
from twins import ragged_ids, saved, shaken, transformers, twin

from omniformer import pretrained
from omniformer.pretrained import family_of

SIZES = decoders.SIZES | {"num_hidden_layers": 3, "no_rope_layer_interval": 2, "pad_token_id": None}


def model(kind=transformers.SmolLM3ForCausalLM, **others):
    return kind(transformers.SmolLM3Config(**(SIZES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"use_sliding_window": True, "sliding_window": 3, "tie_word_embeddings": False, "attention_bias": True},
        {"no_rope_layers": [0, 0, 0]},
        {
            "no_rope_layers": [1, 0, 1],
            "use_sliding_window": True,
            "sliding_window": 3,
            "layer_types": ["full_attention", "full_attention", "sliding_attention"],
        },
    ],
    ids=["plain", "windows", "no positions at all", "windows elsewhere"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, lambda out: out.logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_what_it_writes(tmp_path):
    theirs = shaken(model(use_sliding_window=True, sliding_window=3))
    decoders.writes_alike(theirs, pretrained.load(saved(theirs, tmp_path)))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"layer_types": ["sliding_attention"] * 3}, "layer_types=.* and use_sliding_window=False"),
        ({"no_rope_layers": [1]}, "1 no_rope_layers for num_hidden_layers=3"),
    ],
)
def test_what_does_not_fit_is_refused(others, message):
    with pytest.raises(ValueError, match=message):
        _ = family_of({"model_type": "smollm3", **SIZES, **others}).recipe
