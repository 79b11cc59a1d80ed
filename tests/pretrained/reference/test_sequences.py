import pytest
import torch
from twins import saved, shaken, transformers

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
    nothing = {"labels": None, "return_dict": True, "output_attentions": False, "use_cache": False}
    torch.testing.assert_close(ours(IDS, **nothing).logits, theirs(IDS, **nothing).logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours(IDS).logits, ours(input_ids=IDS).logits)


@pytest.mark.parametrize(
    "asked", [{"labels": IDS}, {"return_dict": False}, {"output_hidden_states": True}, {"inputs_embeds": IDS}]
)
def test_what_the_reference_does_beside_its_outputs_is_refused_by_name(pair, asked):
    message = f"{next(iter(asked))} is not taken here, only input_ids, attention_mask, position_ids; losses"
    with pytest.raises(TypeError, match=message):
        pair[1](IDS, **asked)
    with pytest.raises(TypeError, match="one input may stand without its name; give the others by name: input_ids"):
        pair[1](IDS, torch.ones_like(IDS))
