"""Larger vocabularies and longer texts: what was known stays bit for bit, and files of the new size are read back."""

import pytest
import torch
from tiny_published import bert, gpt2
from twins import saved, shaken, transformers

from omniformer import folder, pretrained
from omniformer.pretrained import resize_positions, resize_vocabulary, vocabulary_size

IDS = torch.arange(12)[None]


def logits(model):
    return pretrained.as_reference(model)(input_ids=IDS).logits


def llama():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, vocab_size=29))


def bart():
    sizes = {"d_model": 16, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": 29}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = transformers.BartConfig(**sizes, **layers, max_position_embeddings=16)
    return transformers.BartForConditionalGeneration(config)


def test_old_ids_are_scored_as_before_and_tied_tables_stay_one(tmp_path):
    model = pretrained.load(gpt2(tmp_path / "gpt2"))
    before, n = logits(model), vocabulary_size(model)
    resize_vocabulary(model, n + 5)
    table = model.model.embedders["text"].table.weight
    assert table is model.model.heads["causal_lm"].ids.weight and len(table) == vocabulary_size(model) == n + 5
    assert torch.equal(logits(model)[..., :n], before)


@pytest.mark.parametrize("kind", ["tied, with offsets of ids", "a table of the output's own", "two sides, one table"])
def test_output_tables_and_offsets_follow_and_the_reference_reads_what_is_written(tmp_path, kind):
    if kind.startswith("tied"):
        source = bert(tmp_path / "theirs")
    else:
        source = saved(shaken(llama() if "own" in kind else bart()), tmp_path / "theirs")
    model = pretrained.load(source)
    n = vocabulary_size(model)
    old = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    resize_vocabulary(model, n + 3)
    for name, tensor in model.model.state_dict().items():
        if old[name].shape == tensor.shape:
            assert torch.equal(tensor, old[name])
        else:
            assert len(tensor) == n + 3 and torch.equal(tensor[:n], old[name]), name
    model.save_pretrained(tmp_path / "ours")
    theirs = getattr(transformers, model.family.architecture).from_pretrained(tmp_path / "ours").eval()
    assert theirs.config.vocab_size == n + 3
    inputs = {"input_ids": IDS} | ({"decoder_input_ids": IDS} if "sides" in kind else {})
    torch.testing.assert_close(
        pretrained.as_reference(model)(**inputs).logits, theirs(**inputs).logits, rtol=1.3e-6, atol=1e-5
    )


def test_new_rows_lie_about_the_mean_of_the_old(tmp_path):
    model = pretrained.load(gpt2(tmp_path / "gpt2"))
    n = vocabulary_size(model)
    resize_vocabulary(model, n + 4)
    table = model.model.embedders["text"].table.weight.detach()
    torch.testing.assert_close(table[n:], table[:n].mean(0).expand(4, -1), rtol=0, atol=1e-3)
    assert not torch.equal(table[n], table[n + 1])


def test_gradients_are_wanted_where_they_were(tmp_path):
    model = pretrained.load(gpt2(tmp_path / "gpt2"))
    model.model.requires_grad_(False)
    resize_vocabulary(model, vocabulary_size(model) + 1)
    resize_positions(model, 80)
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_the_last_ids_can_be_taken_away_but_not_those_of_the_tokenizer(tmp_path):
    model = pretrained.load(gpt2(tmp_path / "gpt2"))
    n = vocabulary_size(model)
    resize_vocabulary(model, n + 9)
    resize_vocabulary(model, n)
    with pytest.raises(ValueError, match=f"vocab_size={n - 1} is less than the {n} ids of the tokenizer"):
        resize_vocabulary(model, n - 1)


def test_longer_texts_repeat_the_places_and_old_texts_are_read_as_before(tmp_path):
    model = pretrained.load(gpt2(tmp_path / "gpt2", n_positions=16))
    before = logits(model)
    resize_positions(model, 40)
    table = model.model.embedders["text"].position.table
    assert torch.equal(table, torch.cat([table[:16], table[:16], table[:8]]))
    assert torch.equal(logits(model), before)
    assert model.members["causal_lm"].max_seq_len == model.family.max_seq_len == 40
    model.save_pretrained(tmp_path / "ours")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours").eval()
    ids = torch.arange(40)[None]
    found = pretrained.as_reference(model)(input_ids=ids).logits
    torch.testing.assert_close(found, theirs(input_ids=ids).logits, rtol=1.3e-6, atol=1e-5)


def test_rows_of_padding_before_the_places_stay_where_they_are(tmp_path):
    model = pretrained.load(saved(shaken(bart()), tmp_path / "bart"))
    old = {side: model.model.embedders[side].position.table.detach().clone() for side in ("source", "text")}
    resize_positions(model, 20)
    for side, table in old.items():
        assert torch.equal(model.model.embedders[side].position.table, torch.cat([table, table[2:6]]))
    model.save_pretrained(tmp_path / "ours")
    assert transformers.BartForConditionalGeneration.from_pretrained(tmp_path / "ours").config.d_model == 16


def test_computed_positions_are_told_to_need_nothing(tmp_path):
    with pytest.raises(ValueError, match="LlamaForCausalLM has no learned positions"):
        resize_positions(pretrained.load(saved(llama(), tmp_path / "llama")), 64)


def test_a_resized_model_is_saved_in_our_own_format_too(tmp_path):
    import omniformer

    model = pretrained.load(gpt2(tmp_path / "gpt2"))
    resize_vocabulary(model, vocabulary_size(model) + 2)
    resize_positions(model, 70)
    folder.save(tmp_path / "ours", model, recipe=model.recipe)
    again = omniformer.load(tmp_path / "ours")
    x = {name: torch.equal(tensor, model.model.state_dict()[name]) for name, tensor in again.model.state_dict().items()}
    assert all(x.values())
