"""Qwen3's mixtures of experts beside the reference library."""

import decoders
import pytest
from twins import ragged_ids, saved, shaken, transformers, twin

from omniformer import pretrained

SIZES = decoders.SIZES | {
    "num_hidden_layers": 3,
    "head_dim": 10,
    "moe_intermediate_size": 20,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}


def model(kind=transformers.Qwen3MoeForCausalLM, **others):
    return kind(transformers.Qwen3MoeConfig(**(SIZES | others)))


def as_filed(stacked):
    """Every expert's tensors by themselves."""
    found = {}
    for name, tensor in stacked.items():
        if name.endswith("gate_up_proj"):
            for i, expert in enumerate(tensor):
                for word, part in zip(("gate_proj", "up_proj"), expert.chunk(2), strict=True):
                    found[name.replace("gate_up_proj", f"{i}.{word}.weight")] = part
        elif name.endswith("experts.down_proj"):
            found |= {name.replace("down_proj", f"{i}.down_proj.weight"): each for i, each in enumerate(tensor)}
        else:
            found[name] = tensor
    return found


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {"norm_topk_prob": True},
        {"num_experts_per_tok": 3, "tie_word_embeddings": True, "attention_bias": True},
        {"decoder_sparse_step": 2, "num_experts": 3},
        {"mlp_only_layers": [0, 1], "use_sliding_window": True, "sliding_window": 3},
    ],
    ids=["shares", "probabilities", "every other layer", "the last layer"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(model(**others), tmp_path, lambda out: out.logits, inputs, mask, as_filed)


def test_what_it_writes(tmp_path):
    theirs = shaken(model(decoder_sparse_step=2))
    decoders.writes_alike(theirs, pretrained.load(saved(theirs, tmp_path)))
