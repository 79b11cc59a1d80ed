"""LoRA beside the PEFT library: the same matrices, the same numbers, files in both directions."""

import json

import pytest
import torch
from twins import agree, agree_in_gradient, ragged_ids, saved, shaken, transformers, weighted

from omniformer import pretrained
from omniformer.adapters import LoRA, adapters, apply_lora, merge

peft = pytest.importorskip("peft")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fan_in_fan_out:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


def gpt2():
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 16, "vocab_size": 29}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = transformers.GPT2Config(**sizes, **dropout, bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config)


def llama():
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "vocab_size": 29}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads))


def bert():
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return transformers.BertForMaskedLM(transformers.BertConfig(**sizes, **dropout, vocab_size=29))


def bart():
    sizes = {"d_model": 24, "encoder_ffn_dim": 40, "decoder_ffn_dim": 32, "vocab_size": 29, "dropout": 0.0}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 2}
    config = transformers.BartConfig(**sizes, **layers, max_position_embeddings=16)
    return transformers.BartForConditionalGeneration(config)


def whisper():
    sizes = {"d_model": 24, "encoder_ffn_dim": 20, "decoder_ffn_dim": 28, "vocab_size": 29, "num_mel_bins": 6}
    layers = {"encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 3, "decoder_attention_heads": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    config = transformers.WhisperConfig(**sizes, **layers, **ids, max_source_positions=9, max_target_positions=16)
    return transformers.WhisperForConditionalGeneration(config)


# The reference's model, what PEFT adapts of it, and the same in our words.
MODELS = {
    "gpt2": (gpt2, ["c_attn"], "qkv"),
    "gpt2, all maps": (gpt2, ["c_attn", "c_proj", "c_fc"], "qkv out up down"),
    "llama, queries and values": (llama, ["q_proj", "v_proj"], "query value"),
    "llama, all maps": (
        llama,
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "query key value out gate up down",
    ),
    "bert": (bert, ["query", "value", "intermediate.dense"], "query value up"),
    "bart, cross-attention too": (bart, ["q_proj", "v_proj", "out_proj"], "query value out"),
    "whisper, keys without offset": (whisper, ["q_proj", "k_proj", "v_proj"], "query key value"),
}


def adapted(make, targets, **options):
    """The reference's model with an adapter of random numbers."""
    theirs = shaken(make())
    config = peft.LoraConfig(target_modules=targets, **({"r": 4, "lora_alpha": 6, "bias": "none"} | options))
    return theirs, config


def with_noise(model, seed=3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


@pytest.fixture(params=MODELS, ids=list(MODELS))
def pair(request, tmp_path):
    """A reference model with PEFT's adapter, saved, and ours with the same read from its files."""
    make, targets, ours = MODELS[request.param]
    theirs, config = adapted(make, targets)
    folder = saved(theirs, tmp_path / "base")
    theirs = with_noise(peft.get_peft_model(theirs, config))
    theirs.save_pretrained(tmp_path / "adapter")
    model = pretrained.load(folder)
    pretrained.load_adapter(model, tmp_path / "adapter")
    return theirs, model, ours.split()


INPUTS = dict(zip(("input_ids", "attention_mask"), ragged_ids(29, least=3), strict=True))


def logits(model, ids=INPUTS["input_ids"], mask=INPUTS["attention_mask"]):
    """Of one of theirs or of ours, where tokens take part; an encoder and decoder reads and writes the same texts."""
    ours = isinstance(model, pretrained.Pretrained)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model.family.given if ours else model.config.is_encoder_decoder:
        inputs |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    if (model.family.config if ours else model.config.to_dict())["model_type"] == "whisper":
        features = torch.randn(len(ids), 6, 18, generator=torch.Generator().manual_seed(4))
        inputs = {"input_features": features, "decoder_input_ids": ids, "decoder_attention_mask": mask}
    return (pretrained.as_reference(model) if ours else model)(**inputs).logits


@pytest.mark.quick(2)
def test_logits_and_gradients_equal_those_of_peft(pair):
    theirs, model, targets = pair
    mask = INPUTS["attention_mask"]
    expected, found = logits(theirs), logits(model)
    agree(found, expected, mask)
    weighted(expected, mask).backward()
    weighted(found, mask).backward()
    lines = {(line.ours.removesuffix(".weight"), line.rows): line.theirs for line in model.family.names()}
    updates = adapters(model.model)
    assert {path.rpartition(".")[2] for path in updates} == set(targets)
    for place, update in updates.values():
        line = lines.get((place.linear, (place.first, place.last))) or lines[place.linear, None]
        layer = theirs.get_submodule("base_model.model." + line.removesuffix(".weight"))
        agree_in_gradient(update.a.grad, layer.lora_A["default"].weight.grad)
        agree_in_gradient(update.b.grad, layer.lora_B["default"].weight.grad)
    assert all(parameter.grad is None for name, parameter in model.model.named_parameters() if ".lora." not in name)


@pytest.mark.quick(2)
def test_what_is_merged_equals_what_peft_merges(pair):
    theirs, model, _ = pair
    merge(model.model)
    agree(logits(model), logits(theirs.merge_and_unload()), INPUTS["attention_mask"])


@pytest.mark.quick(2)
def test_peft_reads_what_we_write(pair, tmp_path):
    theirs, model, _ = pair
    expected = logits(theirs)
    pretrained.save_adapter(model, tmp_path / "ours", base="some-model")
    again = peft.PeftModel.from_pretrained(theirs.unload(), tmp_path / "ours").eval()
    agree(logits(again), expected, INPUTS["attention_mask"], rtol=0, atol=0)


def test_one_adapter_over_what_they_keep_apart_is_shared_out(tmp_path):
    theirs = shaken(llama())
    model = pretrained.load(saved(theirs, tmp_path / "base"))
    apply_lora(model.model, LoRA(rank=3, targets=["qkv", "gate_up"]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, update in adapters(model.model).values():
            update.b.copy_(torch.randn(update.b.shape, generator=generator) * 0.2)
    pretrained.save_adapter(model, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(theirs, tmp_path / "ours").eval()
    assert set(again.peft_config["default"].target_modules) >= {"model.layers.0.self_attn.k_proj"}
    agree(logits(model), logits(again), INPUTS["attention_mask"])


def test_queries_and_values_of_their_fused_matrix_are_one_adapter_of_twice_the_rank(tmp_path):
    theirs = shaken(gpt2())
    model = pretrained.load(saved(theirs, tmp_path / "base"))
    apply_lora(model.model, LoRA(rank=3, alpha=5.0))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, update in adapters(model.model).values():
            update.b.copy_(torch.randn(update.b.shape, generator=generator) * 0.2)
    pretrained.save_adapter(model, tmp_path / "ours")
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (6, 10.0)
    again = peft.PeftModel.from_pretrained(theirs, tmp_path / "ours").eval()
    agree(logits(model), logits(again), INPUTS["attention_mask"])


def test_ranks_and_scales_of_single_maps_are_read_and_written(tmp_path):
    options = {
        "rank_pattern": {"h.0.attn.c_attn": 2},
        "alpha_pattern": {"h.1.attn.c_attn": 11},
        "use_rslora": True,
        "init_lora_weights": "gaussian",
    }
    theirs, config = adapted(gpt2, ["c_attn"], **options)
    folder = saved(theirs, tmp_path / "base")
    theirs = with_noise(peft.get_peft_model(theirs, config))
    theirs.save_pretrained(tmp_path / "adapter")
    model = pretrained.load(folder)
    pretrained.load_adapter(model, tmp_path / "adapter")
    expected = theirs(**INPUTS).logits
    agree(pretrained.as_reference(model)(**INPUTS).logits, expected, INPUTS["attention_mask"])
    pretrained.save_adapter(model, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(theirs.unload(), tmp_path / "ours").eval()
    agree(again(**INPUTS).logits, expected, INPUTS["attention_mask"])


def test_the_part_below_the_head_has_names_of_its_own(tmp_path):
    whole = shaken(gpt2())
    theirs = whole.transformer
    folder = saved(theirs, tmp_path / "base")
    theirs = with_noise(peft.get_peft_model(theirs, peft.LoraConfig(target_modules=["c_attn"], r=2)))
    theirs.save_pretrained(tmp_path / "adapter")
    model = pretrained.load(folder)
    pretrained.load_adapter(model, tmp_path / "adapter")
    agree(
        pretrained.as_reference(model)(**INPUTS).last_hidden_state,
        theirs(**INPUTS).last_hidden_state,
        INPUTS["attention_mask"],
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_type": "LOHA"}, "peft_type='LOHA'; accepted: 'LORA'"),
        ({"bias": "all"}, "bias='all'; accepted: 'none'"),
        ({"use_dora": True}, "use_dora=True, which is not supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
        ({"something_new": 1}, "something_new=1, which is not supported"),
        ({"init_lora_weights": "pissa"}, "changes the model's own weights"),
        ({"lora_alpha": [1]}, "describes what cannot be built: TypeError"),
        ({"alpha_pattern": ["q"]}, "describes what cannot be built: AttributeError"),
        ({"alpha_pattern": {"((": 1}}, "is no pattern"),
        ({"alpha_pattern": {"(.|q)*!": 1}}, "repeats a group, or more than four things"),
        ({"alpha_pattern": {".*.*.*.*.*!": 1}}, "repeats a group, or more than four things"),
    ],
)
def test_adapters_that_compute_something_else_are_refused(tmp_path, change, words):
    model = pretrained.load(saved(gpt2(), tmp_path / "base"))
    apply_lora(model.model, LoRA(targets=["qkv"]))
    pretrained.save_adapter(model, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    fresh = pretrained.load(tmp_path / "base")
    with pytest.raises(ValueError, match=words):
        pretrained.load_adapter(fresh, tmp_path / "adapter")
    assert not adapters(fresh.model)


def test_an_adapter_of_another_model_is_refused_and_leaves_the_model_as_it_was(tmp_path):
    model = pretrained.load(saved(gpt2(), tmp_path / "base"))
    apply_lora(model.model, LoRA(targets=["qkv", "up"]))
    pretrained.save_adapter(model, tmp_path / "adapter")
    other = transformers.GPT2Config(n_embd=24, n_layer=1, n_head=3, n_positions=16, vocab_size=29, n_inner=40)
    fresh = pretrained.load(saved(transformers.GPT2LMHeadModel(other), tmp_path / "other"))
    with pytest.raises(ValueError, match=r"mlp.c_fc has A \[8, 24\] and B \[96, 8\], this model needs .* \[40, 8\]"):
        pretrained.load_adapter(fresh, tmp_path / "adapter")
    assert not adapters(fresh.model)
    assert all(parameter.requires_grad for parameter in fresh.model.parameters())


def test_a_folder_without_adapter_and_a_damaged_file_are_told(tmp_path):
    model = pretrained.load(saved(gpt2(), tmp_path / "base"))
    with pytest.raises(FileNotFoundError, match="holds no adapter: looked for adapter_config.json"):
        pretrained.load_adapter(model, tmp_path)
    with pytest.raises(ValueError, match="no adapter to save"):
        pretrained.save_adapter(model, tmp_path / "adapter")
    apply_lora(model.model, LoRA(targets=["qkv"]))
    pretrained.save_adapter(model, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="adapter_model.safetensors is damaged or cut off"):
        pretrained.load_adapter(pretrained.load(tmp_path / "base"), tmp_path / "adapter")
