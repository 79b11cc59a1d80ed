"""Mixtral beside the reference library."""

import decoders
import pytest
import torch
from safetensors.torch import load_file
from twins import ragged_ids, transformers, twin

from omniformer.pretrained import family_of
from omniformer.pretrained.reference.sequences import batch_of, ids, takes_part

SIZES = decoders.SIZES | {"intermediate_size": 20, "num_local_experts": 4, "num_experts_per_tok": 2}


def model(kind=transformers.MixtralForCausalLM, **others):
    return kind(transformers.MixtralConfig(**(SIZES | others)))


def as_filed(stacked):
    """Every expert's tensors by themselves."""
    found = {}
    for name, tensor in stacked.items():
        name = name.replace(".mlp.", ".block_sparse_moe.")
        if name.endswith("gate_up_proj"):
            for i, expert in enumerate(tensor):
                gate, up = expert.chunk(2)
                found |= {
                    name.replace("gate_up_proj", f"{i}.w{which}.weight"): part for which, part in ((1, gate), (3, up))
                }
        elif name.endswith("down_proj"):
            found |= {name.replace("down_proj", f"{i}.w2.weight"): expert for i, expert in enumerate(tensor)}
        else:
            found[name] = tensor
    return found


def logits(out):
    return out.logits


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_local_experts": 3, "num_experts_per_tok": 1, "num_hidden_layers": 1, "head_dim": 10},
        {"num_experts_per_tok": 3, "sliding_window": 3, "tie_word_embeddings": True, "hidden_act": "gelu"},
    ],
    ids=["plain", "one of three", "window and ties"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    token_ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, logits, {"input_ids": token_ids, "attention_mask": mask}, mask, as_filed)


def test_the_files_are_those_that_everybody_reads(tmp_path):
    token_ids, mask = ragged_ids(29)
    twin(model(), tmp_path, logits, {"input_ids": token_ids, "attention_mask": mask}, mask, as_filed)
    theirs, ours = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "ours"))
    assert "model.layers.1.block_sparse_moe.experts.3.w2.weight" in ours
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_loss_of_the_experts_has_the_files_weight(tmp_path):
    token_ids, mask = ragged_ids(29)
    # With one layer the two ways of pooling layers are one.
    theirs = model(num_hidden_layers=1, router_aux_loss_coef=0.3, output_router_logits=True)
    inputs = {"input_ids": token_ids, "attention_mask": mask}
    loaded = twin(theirs, tmp_path, logits, inputs, mask, as_filed)
    losses = {}
    loaded.model(batch_of(ids(token_ids, takes_part(token_ids, mask))), "causal_lm", losses=losses)
    torch.testing.assert_close(losses["load_balance"], 0.3 * theirs(**inputs).aux_loss)
    assert losses["router_z"] == 0


def test_noise_of_the_router_is_refused():
    with pytest.raises(ValueError, match=r"router_jitter_noise=0.1; accepted: 0.0"):
        _ = family_of({"model_type": "mixtral", "router_jitter_noise": 0.1}).recipe
