import pytest
import torch
from twins import ragged_ids, saved, shaken, transformers

from omniformer import pretrained

IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    sizes = {"n_embd": 24, "n_layer": 1, "n_head": 3, "n_positions": 16, "vocab_size": 29}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    theirs = shaken(transformers.GPT2LMHeadModel(config))
    folder = saved(theirs, tmp_path_factory.mktemp("gpt2"))
    return theirs, pretrained.as_reference(pretrained.load(folder))


def test_the_first_input_needs_no_name_and_keywords_that_ask_for_nothing_change_nothing(pair):
    theirs, ours = pair
    nothing = {
        "labels": None,
        "output_hidden_states": False,
        "return_dict": True,
        "output_attentions": False,
        "use_cache": False,
    }
    torch.testing.assert_close(ours(IDS, **nothing).logits, theirs(IDS, **nothing).logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours(IDS).logits, ours(input_ids=IDS).logits)


@pytest.mark.parametrize("asked", [{"return_dict": False}, {"output_attentions": True}, {"inputs_embeds": IDS}])
def test_what_the_reference_does_beside_its_outputs_is_refused_by_name(pair, asked):
    takes = "input_ids, attention_mask, position_ids, labels, output_hidden_states; what else there is"
    with pytest.raises(TypeError, match=f"{next(iter(asked))} is not taken here, only {takes}"):
        pair[1](IDS, **asked)
    with pytest.raises(TypeError, match="one input may stand without its name; give the others by name: input_ids"):
        pair[1](IDS, torch.ones_like(IDS))


LLAMA = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 29}
BERT = LLAMA | {"max_position_embeddings": 16, "type_vocab_size": 2}
# By the reference's model, its sizes, and what its labels are.
CASES = {
    "LlamaForCausalLM": (LLAMA, "ids"),
    "Gemma2ForCausalLM": (LLAMA | {"num_key_value_heads": 2, "head_dim": 6}, "ids"),
    "OPTForCausalLM": (LLAMA | {"ffn_dim": 40, "word_embed_proj_dim": 24, "max_position_embeddings": 16}, "ids"),
    "BloomForCausalLM": ({"hidden_size": 24, "n_layer": 3, "n_head": 4, "vocab_size": 29}, "ids"),
    "LlamaForSequenceClassification": (LLAMA | {"num_labels": 5, "pad_token_id": 0}, "class"),
    "BertForMaskedLM": (BERT, "ids"),
    "BertForSequenceClassification": (BERT | {"num_labels": 5}, "class"),
    "RobertaForTokenClassification": (BERT | {"num_labels": 5, "pad_token_id": 0}, "classes of tokens"),
    "DistilBertForSequenceClassification": (
        {"dim": 24, "hidden_dim": 40, "n_layers": 3, "n_heads": 4, "vocab_size": 29, "num_labels": 1},
        "number",
    ),
    "ElectraForSequenceClassification": (
        BERT | {"embedding_size": 24, "num_labels": 5, "problem_type": "multi_label_classification"},
        "questions",
    ),
    "AlbertForMaskedLM": (BERT | {"embedding_size": 8}, "ids"),
    "ModernBertForMaskedLM": (LLAMA | {"local_attention": 4, "pad_token_id": 0}, "ids"),
    "MPNetForMaskedLM": (BERT, "ids"),
}


def labels_of(kind, mask, generator):
    if kind in ("ids", "classes of tokens"):
        drawn = torch.randint(0, 29 if kind == "ids" else 5, mask.shape, generator=generator)
        return torch.where(mask.bool() & (torch.rand(mask.shape, generator=generator) > 0.3), drawn, -100)
    shape = {"class": (3,), "number": (3,), "questions": (3, 5)}[kind]
    drawn = torch.rand(shape, generator=generator)
    return (drawn * 5).long() if kind == "class" else drawn if kind == "number" else drawn.round()


@pytest.mark.quick(
    "LlamaForCausalLM",
    "BertForMaskedLM",
    "DistilBertForSequenceClassification",
)
@pytest.mark.parametrize("name", CASES)
def test_hidden_states_and_losses_are_the_reference_s(name, tmp_path):
    sizes, kind = CASES[name]
    family = next(
        each
        for each in ("ForCausalLM", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
        if name.endswith(each)
    )
    ends = {"bos_token_id": None, "eos_token_id": None}
    config = getattr(transformers, f"{name.removesuffix(family)}Config")(**ends | sizes, attn_implementation="eager")
    theirs = shaken(getattr(transformers, name)(config))
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    ids, mask = ragged_ids(29, least=2)
    given = {
        "input_ids": torch.where(mask.bool(), ids, 0 if sizes.get("pad_token_id") == 0 else 1),
        "attention_mask": mask,
    }
    asked = given | {"labels": labels_of(kind, mask, torch.Generator().manual_seed(5)), "output_hidden_states": True}
    found, expected = ours(**asked), theirs(**asked)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-5, atol=1e-5)
    assert len(found.hidden_states) == len(expected.hidden_states)
    for mine, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(mine[mask.bool()], other[mask.bool()], rtol=1e-5, atol=2e-5)
    plain = ours(**given)
    assert plain.loss is None and plain.hidden_states is None


def test_labels_of_padding_and_of_no_head_are_refused(pair, tmp_path):
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    with pytest.raises(
        ValueError, match="labels count at places whose logits are those of padding; they are -100 there"
    ):
        pair[1](IDS, attention_mask=mask.flip(1), labels=IDS)
    theirs = transformers.LlamaModel(transformers.LlamaConfig(**LLAMA))
    headless = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    with pytest.raises(ValueError, match="labels are for a model with one head that gives logits"):
        headless(IDS, labels=IDS)
