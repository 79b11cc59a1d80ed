"""NomicBERT beside the reference library."""

import json

import pytest
import torch
from encoders import missing_in_the_reference, padded_texts
from twins import saved, shaken, transformers, twin
from vision import as_written

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 29}
OTHERS = {"type_vocab_size": 3, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "rope_parameters": {"rope_theta": 50.0}}
OLDER = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "layer_norm_eps": "layer_norm_epsilon",
}


def model(kind=transformers.NomicBertForMaskedLM, **others):
    return kind(transformers.NomicBertConfig(**(SIZES | others)))


def logits(output):
    return output.logits


@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.NomicBertForMaskedLM, logits, True, {}),
        pytest.param(transformers.NomicBertForMaskedLM, logits, True, OTHERS, marks=pytest.mark.slow),
        pytest.param(transformers.NomicBertModel, lambda out: out.last_hidden_state, True, {}, marks=pytest.mark.slow),
        pytest.param(
            transformers.NomicBertForSequenceClassification, logits, False, {"num_labels": 3}, marks=pytest.mark.slow
        ),
        pytest.param(
            transformers.NomicBertForTokenClassification, logits, True, {"num_labels": 5}, marks=pytest.mark.slow
        ),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given, theirs = padded_texts(), model(kind, **others)
    mask = given["attention_mask"] if of_tokens else None
    loaded = twin(theirs, tmp_path, pick, given, mask, as_filed=as_written(theirs))
    assert not loaded.report.unexpected
    assert not missing_in_the_reference(kind, tmp_path / "ours")


def test_the_words_of_older_configurations_are_known(tmp_path):
    theirs = shaken(model(transformers.NomicBertModel, rope_parameters={"rope_theta": 50.0, "rope_type": "default"}))
    given = padded_texts()
    expected = theirs(**given).last_hidden_state
    path = saved(theirs, tmp_path) / "config.json"
    config = json.loads(path.read_text())
    config = {OLDER.get(key, key): value for key, value in config.items()} | {"activation_function": "swiglu"}
    base = config.pop("rope_parameters")["rope_theta"]
    path.write_text(json.dumps(config | {"rotary_emb_base": base, "rotary_emb_fraction": 1.0, "prenorm": False}))
    loaded = pretrained.load(tmp_path)
    found = pretrained.as_reference(loaded)(**given).last_hidden_state
    mask = given["attention_mask"].bool()
    torch.testing.assert_close(found[mask], expected[mask], rtol=1.3e-6, atol=1e-5)
    loaded.save_pretrained(tmp_path / "ours")
    again = transformers.NomicBertModel.from_pretrained(tmp_path / "ours")(**given).last_hidden_state
    torch.testing.assert_close(again[mask], expected[mask], rtol=1.3e-6, atol=1e-5)


def test_what_is_not_expressed_is_refused():
    config = model().config.to_dict() | {"architectures": ["NomicBertModel"], "qkv_proj_bias": True}
    with pytest.raises(ValueError, match="qkv_proj_bias=True; accepted: False"):
        pretrained.family_of(config)


def test_adapters_that_peft_would_not_find_are_refused():
    config = model().config.to_dict() | {"architectures": ["NomicBertModel"]}
    with pytest.raises(ValueError, match="PEFT knows the maps of NomicBertModel by other names"):
        pretrained.family_of(config).in_memory("encoder.layers.0.attn.Wqkv")
