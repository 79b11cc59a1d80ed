"""HuBERT beside the reference library."""

import pytest
import torch
from twins import counted, transformers
from waves import BASE, LARGE, SIZES, reads_as_the_reference

from omniformer import pretrained


def model(kind="ForCTC", **others):
    return getattr(transformers, f"Hubert{kind}")(transformers.HubertConfig(**(SIZES | others)))


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        ("ForCTC", LARGE),
        pytest.param("ForSequenceClassification", BASE | {"num_labels": 3}, marks=pytest.mark.slow),
        ("Model", BASE | {"feat_proj_layer_norm": False}),
    ],
    ids=["large", "classes", "without norm"],
)
def test_outputs_gradients_and_the_way_back(kind, others, tmp_path):
    reads_as_the_reference(model(kind, **others), tmp_path)


@pytest.mark.slow
def test_the_published_size_is_counted_exactly():
    with torch.device("meta"):
        theirs = transformers.HubertModel(transformers.HubertConfig())
    assert counted({"model_type": "hubert", "architectures": ["HubertModel"]}) == theirs.num_parameters() == 94_371_712


def test_a_norm_over_the_batch_is_refused():
    with pytest.raises(ValueError, match="conv_pos_batch_norm=True; accepted: False"):
        pretrained.family_of({"model_type": "hubert", "conv_pos_batch_norm": True})
