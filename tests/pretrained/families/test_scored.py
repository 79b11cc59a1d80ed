"""Classifiers on top of language models that are no relatives of LLaMA, beside the reference library."""

import pytest
from twins import ragged_ids, transformers, twin

from omniformer.heads import ClassificationHead, MultiLabelHead, RegressionHead

SIZES = {"vocab_size": 29, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
STILL = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
KINDS = {
    "bloom": (transformers.BloomConfig, transformers.BloomForSequenceClassification, {}),
    "falcon": (transformers.FalconConfig, transformers.FalconForSequenceClassification, {}),
    "gpt_neox": (
        transformers.GPTNeoXConfig,
        transformers.GPTNeoXForSequenceClassification,
        {"intermediate_size": 40, "max_position_embeddings": 32},
    ),
    "gptj": (
        transformers.GPTJConfig,
        transformers.GPTJForSequenceClassification,
        {"n_embd": 24, "n_layer": 2, "n_head": 3, "rotary_dim": 4, "n_positions": 32},
    ),
    "opt": (
        transformers.OPTConfig,
        transformers.OPTForSequenceClassification,
        {"ffn_dim": 40, "max_position_embeddings": 32, "dropout": 0.0},
    ),
}
HEADS = [(1, None, RegressionHead), (3, None, ClassificationHead), (2, "multi_label_classification", MultiLabelHead)]


@pytest.mark.quick(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_classes", "problem", "head"), HEADS)
def test_the_last_token_is_scored_as_in_the_reference(kind, n_classes, problem, head, tmp_path):
    config, model, own = KINDS[kind]
    theirs = model(config(**(SIZES | STILL | own | {"num_labels": n_classes, "problem_type": problem})))
    ids, mask = ragged_ids(29, least=1)
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    loaded = twin(theirs, tmp_path, lambda out: out.logits, inputs)
    assert type(loaded.model.heads["classification"]) is head
    labels = () if head is RegressionHead else tuple(f"LABEL_{i}" for i in range(n_classes))
    assert loaded.members["classification"].labels == labels
