"""WavLM beside the reference library."""

import pytest
import torch
from twins import counted, transformers
from waves import BASE, LARGE, SIZES, reads_as_the_reference

BUCKETS = {"num_buckets": 12, "max_bucket_distance": 20}


def model(kind="ForCTC", **others):
    return getattr(transformers, f"WavLM{kind}")(transformers.WavLMConfig(**(SIZES | BUCKETS | others)))


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        ("ForCTC", BASE),
        ("ForSequenceClassification", LARGE | {"num_labels": 3}),
        pytest.param("Model", BASE | {"num_hidden_layers": 3}, marks=pytest.mark.slow),
    ],
    ids=["base", "large classes", "body"],
)
def test_outputs_gradients_and_the_way_back(kind, others, tmp_path):
    reads_as_the_reference(model(kind, **others), tmp_path)


@pytest.mark.slow
def test_the_published_size_is_counted_exactly():
    with torch.device("meta"):
        theirs = transformers.WavLMModel(transformers.WavLMConfig())
    assert counted({"model_type": "wavlm", "architectures": ["WavLMModel"]}) == theirs.num_parameters() == 94_381_936
