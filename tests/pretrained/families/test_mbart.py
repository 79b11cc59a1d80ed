"""mBART beside the reference library."""

import pytest
from translators import reads_alike, theirs_of, translates_alike
from twins import transformers


def model(kind=transformers.MBartForConditionalGeneration, **others):
    return theirs_of(kind, transformers.MBartConfig, **others)


@pytest.mark.parametrize("others", [{}, {"scale_embedding": True, "activation_function": "swish", "decoder_layers": 2}])
def test_logits_gradients_answers_and_the_way_back(others, tmp_path):
    translates_alike(model(**others), tmp_path)


def test_the_part_below_the_head(tmp_path):
    reads_alike(model(transformers.MBartModel), tmp_path)
