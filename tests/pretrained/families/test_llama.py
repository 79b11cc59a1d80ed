"""LLaMA beside the reference library."""

import json

import pytest
import torch
from decoders import SIZES
from twins import agree, ragged_ids, saved, shaken, transformers, twin

from omniformer import pretrained
from omniformer.core.rules import Causal
from omniformer.heads import ClassificationHead, MultiLabelHead, RegressionHead
from omniformer.pretrained import family_of

SCALED = {"rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 8}


def model(kind=transformers.LlamaForCausalLM, **others):
    return kind(transformers.LlamaConfig(**(SIZES | others)))


def logits(out):
    return out.logits


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_hidden_layers": 1, "num_key_value_heads": 1, "hidden_act": "gelu"},
        {"num_hidden_layers": 3, "num_key_value_heads": 4, "head_dim": 10, "rms_norm_eps": 1e-3},
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 3.0}},
        {"rope_parameters": {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **SCALED}},
        {"rope_parameters": {"rope_type": "yarn", **SCALED}},
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "attention_factor": 0.7,
                "beta_fast": 4.0,
                "beta_slow": 0.5,
                "truncate": False,
                **SCALED,
            }
        },
        {"rope_parameters": {"rope_type": "yarn", "mscale": 1.0, "mscale_all_dim": 0.4, **SCALED}},
    ],
    ids=["plain", "one layer", "wide heads", "offsets and ties", "linear", "llama3", "yarn", "yarn's knobs", "mscale"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29, lengths=(7, 2, 23))
    twin(model(**others), tmp_path, logits, {"input_ids": ids, "attention_mask": mask}, mask)


@pytest.mark.parametrize("n", [7, 23])
def test_dynamic_frequencies_are_those_of_the_length_of_the_text(n, tmp_path):
    scaling = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}
    ids, mask = ragged_ids(29, lengths=(n,))
    theirs = model(rope_parameters=scaling, max_position_embeddings=10)
    twin(theirs, tmp_path, logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_padding_on_the_left(tmp_path):
    ids, mask = ragged_ids(29, side="left")
    positions = (mask.cumsum(1) - 1).clamp(0)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    loaded = twin(model(), tmp_path, logits, inputs, mask)
    reference = pretrained.as_reference(loaded)
    without = reference(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(without, reference(**inputs).logits, rtol=0, atol=0)


def test_positions_of_ones_own(tmp_path):
    ids, _ = ragged_ids(29, lengths=(9, 9))
    twin(model(), tmp_path, logits, {"input_ids": ids, "position_ids": torch.arange(9)[None] * 3 + 5})


def test_the_part_below_the_head_keeps_its_rule(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    loaded = twin(model(transformers.LlamaModel), tmp_path, lambda out: out.last_hidden_state, inputs, mask)
    assert pretrained.as_reference(loaded)(**inputs).logits is None
    assert list(loaded.members) == ["features"] and loaded.model.rule("features") == Causal()


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("n_classes", "problem", "head"),
    [
        (1, None, RegressionHead),
        (2, None, ClassificationHead),
        (5, "single_label_classification", ClassificationHead),
        (3, "multi_label_classification", MultiLabelHead),
        (2, "regression", RegressionHead),
    ],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_classifier_reads_the_last_token(n_classes, problem, head, side, tmp_path):
    ids, mask = ragged_ids(29, side=side, least=1)
    ids = ids * mask
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(0)}
    others = {"num_labels": n_classes, "problem_type": problem, "pad_token_id": 0}
    loaded = twin(model(transformers.LlamaForSequenceClassification, **others), tmp_path, logits, inputs)
    assert pretrained.as_reference(loaded)(**inputs).logits.shape == (3, n_classes)
    assert type(loaded.model.heads["classification"]) is head
    labels = () if head is RegressionHead else tuple(f"LABEL_{i}" for i in range(n_classes))
    assert loaded.members["classification"].labels == labels


def test_files_of_both_ages_say_the_same(tmp_path):
    scaling = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **SCALED}
    theirs = shaken(model(rope_parameters=scaling))
    saved(theirs, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"], config["head_dim"], config["dtype"]
    old = config | {"rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(old))
    ids, mask = ragged_ids(29)
    reference = pretrained.as_reference(pretrained.load(tmp_path))
    agree(reference(input_ids=ids, attention_mask=mask).logits, theirs(ids, attention_mask=mask).logits, mask)


def test_a_file_of_the_first_llama_says_little_and_holds_ready_made_frequencies(tmp_path):
    from safetensors.torch import load_file, save_file

    theirs = shaken(model(num_key_value_heads=4))
    saved(theirs, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("rope_parameters", "head_dim", "num_key_value_heads", "attention_bias", "mlp_bias"):
        del config[key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(3)
    save_file(tensors, tmp_path / "model.safetensors")
    loaded = pretrained.load(tmp_path)
    assert loaded.report.ignored == ("model.layers.0.self_attn.rotary_emb.inv_freq",)
    ids, _ = ragged_ids(29)
    agree(pretrained.as_reference(loaded)(input_ids=ids).logits, theirs(ids).logits)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"hidden_act": "elu"}, "hidden_act='elu'; accepted: relu, gelu"),
        ({"architectures": ["LlamaForTokenClassification"]}, "this reads LlamaForCausalLM, LlamaModel"),
        (
            {"architectures": ["LlamaForSequenceClassification"], "problem_type": "ranking"},
            "problem_type='ranking'; accepted: None, 'single_label",
        ),
    ],
)
def test_what_the_core_cannot_express_is_refused_by_name(others, message):
    with pytest.raises(ValueError, match=message):
        _ = family_of({"model_type": "llama", **SIZES, **others}).recipe
