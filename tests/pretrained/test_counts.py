"""Published configurations beside their published numbers of weights, and beside the presets of the same name."""

import pytest
import torch
import yaml

from omniformer.inspect import main
from omniformer.inspection.cost import parameters
from omniformer.inspection.whole import build_on_meta
from omniformer.pretrained import family_of
from omniformer.pretrained.reference.sequences import batch_of, ids
from omniformer.recipe import build_model

# What BERT's published files say beside their sizes.
BERT = {"architectures": ["BertModel"], "model_type": "bert", "layer_norm_eps": 1e-12, "vocab_size": 30522}


def _sides(**sizes):
    """Sizes of an encoder and of a decoder that are alike."""
    return {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()}


# What published files of Qwen2.5-VL and Qwen2-VL say beside their sizes, in no section of the language model's own.
QWEN_VL = {"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "rope_theta": 1e6, "rms_norm_eps": 1e-6}
QWEN_25_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}

SMOL_VISION = {"hidden_size": 768, "image_size": 512, "num_attention_heads": 12, "patch_size": 16}

# By the name of the preset, what config.json of the published folder says, and the number of weights in its files.
PUBLISHED = {
    "gpt2_small": (
        {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 768, "n_head": 12, "n_layer": 12},
        124_439_808,
    ),
    "bert_base": (BERT, 109_482_240),
    "bert_large": (
        BERT | {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24},
        335_141_888,
    ),
    "beit_base": ({"model_type": "beit", "use_relative_position_bias": True, "num_labels": 1000}, 86_530_984),
    "siglip_b16": ({"model_type": "siglip"}, 203_155_970),
    "roberta_base": (
        {
            "model_type": "roberta",
            "architectures": ["RobertaModel"],
            "layer_norm_eps": 1e-5,
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "vocab_size": 50265,
        },
        124_645_632,
    ),
    "llama2_7b": (
        {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "max_position_embeddings": 4096,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 32,
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-5,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "vocab_size": 32000,
        },
        6_738_415_616,
    ),
    "llama3_8b": (
        {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 8192,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5,
            "rope_scaling": None,
            "rope_theta": 500000.0,
            "tie_word_embeddings": False,
            "vocab_size": 128256,
        },
        8_030_261_248,
    ),
    "mistral_7b": (
        {
            "model_type": "mistral",
            "architectures": ["MistralForCausalLM"],
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "sliding_window": 4096,
            "tie_word_embeddings": False,
            "vocab_size": 32000,
        },
        7_241_732_096,
    ),
    "mixtral_8x7b": (
        {
            "model_type": "mixtral",
            "architectures": ["MixtralForCausalLM"],
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "num_attention_heads": 32,
            "num_experts_per_tok": 2,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "num_local_experts": 8,
            "rms_norm_eps": 1e-5,
            "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.02,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "vocab_size": 32000,
        },
        46_702_792_704,
    ),
    "qwen2_5_vl_3b": (
        QWEN_VL
        | {
            "model_type": "qwen2_5_vl",
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
            "vision_config": QWEN_25_VISION,
        },
        3_754_622_976,
    ),
    "smolvlm_256m": (
        {
            "model_type": "idefics3",
            "scale_factor": 4,
            "text_config": {
                "model_type": "llama",
                "hidden_size": 576,
                "intermediate_size": 1536,
                "num_attention_heads": 9,
                "num_hidden_layers": 30,
                "num_key_value_heads": 3,
                "vocab_size": 49280,
            },
            "vision_config": SMOL_VISION,
        },
        256_484_928,
    ),
    "qwen2_0_5b": (
        {
            "model_type": "qwen2",
            "architectures": ["Qwen2ForCausalLM"],
            "hidden_size": 896,
            "intermediate_size": 4864,
            "max_position_embeddings": 131072,
            "max_window_layers": 24,
            "num_attention_heads": 14,
            "num_hidden_layers": 24,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "sliding_window": 131072,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "vocab_size": 151936,
        },
        494_032_768,
    ),
    "qwen3_0_6b": (
        {
            "model_type": "qwen3",
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": False,
            "head_dim": 128,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "max_position_embeddings": 40960,
            "max_window_layers": 28,
            "num_attention_heads": 16,
            "num_hidden_layers": 28,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-6,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "vocab_size": 151936,
        },
        596_049_920,
    ),
    "gemma2_2b": ({"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}, 2_614_341_888),
    "gemma3_1b": (
        {
            "model_type": "gemma3_text",
            "architectures": ["Gemma3ForCausalLM"],
            "hidden_size": 1152,
            "intermediate_size": 6912,
            "num_attention_heads": 4,
            "num_hidden_layers": 26,
            "num_key_value_heads": 1,
            "sliding_window": 512,
            "vocab_size": 262144,
        },
        999_885_952,
    ),
    "smollm3_3b": ({"model_type": "smollm3", "architectures": ["SmolLM3ForCausalLM"]}, 3_075_098_624),
    "qwen3_30b_a3b": (
        {
            "model_type": "qwen3_moe",
            "architectures": ["Qwen3MoeForCausalLM"],
            "head_dim": 128,
            "norm_topk_prob": True,
            "num_hidden_layers": 48,
            "rope_theta": 1000000.0,
        },
        30_532_122_624,
    ),
    "olmo3_7b": ({"model_type": "olmo3", "architectures": ["Olmo3ForCausalLM"], "vocab_size": 100278}, 7_298_011_136),
    "modernbert_base": ({"model_type": "modernbert", "architectures": ["ModernBertModel"]}, 149_014_272),
    "deberta_v3_base": (
        {
            "model_type": "deberta-v2",
            "architectures": ["DebertaV2Model"],
            "hidden_size": 768,
            "intermediate_size": 3072,
            "norm_rel_ebd": "layer_norm",
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "pos_att_type": "p2c|c2p",
            "position_biased_input": False,
            "position_buckets": 256,
            "relative_attention": True,
            "share_att_key": True,
        },
        183_831_552,
    ),
    "mamba_codestral_7b": ({"model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"]}, 7_285_403_648),
    "gpt_oss_20b": (
        {
            "model_type": "gpt_oss",
            "architectures": ["GptOssForCausalLM"],
            "num_hidden_layers": 24,
            "num_local_experts": 32,
        },
        20_914_757_184,
    ),
    "dinov2_base": ({"model_type": "dinov2", "architectures": ["Dinov2Model"], "image_size": 518}, 86_580_480),
    "t5_small": (
        {
            "model_type": "t5",
            "architectures": ["T5ForConditionalGeneration"],
            "d_ff": 2048,
            "d_kv": 64,
            "d_model": 512,
            "decoder_start_token_id": 0,
            "layer_norm_epsilon": 1e-6,
            "num_heads": 8,
            "num_layers": 6,
            "relative_attention_num_buckets": 32,
            "vocab_size": 32128,
        },
        60_506_624,
    ),
    "t5_v1_1_small": (
        {
            "model_type": "t5",
            "architectures": ["T5ForConditionalGeneration"],
            "d_ff": 1024,
            "d_kv": 64,
            "d_model": 512,
            "decoder_start_token_id": 0,
            "feed_forward_proj": "gated-gelu",
            "layer_norm_epsilon": 1e-6,
            "num_decoder_layers": 8,
            "num_heads": 6,
            "num_layers": 8,
            "relative_attention_num_buckets": 32,
            "tie_word_embeddings": False,
            "vocab_size": 32128,
        },
        76_961_152,  # the reference's class ties the 32,128 x 512 of the output, which the files hold
    ),
    "bart_base": (
        {"model_type": "bart", "architectures": ["BartModel"], "d_model": 768, "vocab_size": 50265}
        | _sides(ffn_dim=3072, attention_heads=12, layers=6),
        139_420_416,
    ),
    "bart_large": (
        {"model_type": "bart", "architectures": ["BartModel"], "d_model": 1024, "vocab_size": 50265}
        | _sides(ffn_dim=4096, attention_heads=16, layers=12),
        406_291_456,
    ),
    "opus_mt": (
        {
            "model_type": "marian",
            "architectures": ["MarianMTModel"],
            "activation_function": "swish",
            "d_model": 512,
            "max_position_embeddings": 512,
            "normalize_embedding": False,
            "scale_embedding": True,
            "static_position_embeddings": True,
            "vocab_size": 58101,
        }
        | _sides(ffn_dim=2048, attention_heads=8, layers=6),
        74_410_496 - 2 * 512 * 512,  # the files also hold the waves, as two tables
    ),
}

# The same of families without a preset, by the name of the published folder.
COUNTED = {
    "pythia-160m": (
        {
            "model_type": "gpt_neox",
            "architectures": ["GPTNeoXForCausalLM"],
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "rotary_pct": 0.25,
            "vocab_size": 50304,
        },
        162_322_944,
    ),
    "gpt-j-6b": ({"model_type": "gptj", "architectures": ["GPTJForCausalLM"]}, 6_050_882_784),
    "opt-125m": ({"model_type": "opt", "architectures": ["OPTForCausalLM"], "word_embed_proj_dim": 768}, 125_239_296),
    "bloom-560m": (
        {
            "model_type": "bloom",
            "architectures": ["BloomForCausalLM"],
            "hidden_size": 1024,
            "n_layer": 24,
            "n_head": 16,
        },
        559_214_592,
    ),
    "falcon-7b": ({"model_type": "falcon", "architectures": ["FalconForCausalLM"]}, 6_921_720_704),
    "starcoder2-3b": ({"model_type": "starcoder2", "architectures": ["Starcoder2ForCausalLM"]}, 3_030_371_328),
    "OLMo-2-1124-7B": (
        {"model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"], "vocab_size": 100352},
        7_298_617_344,
    ),
    "Phi-3-mini-4k-instruct": ({"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]}, 3_821_079_552),
    "phi-4": (
        {
            "model_type": "phi3",
            "architectures": ["Phi3ForCausalLM"],
            "hidden_size": 5120,
            "intermediate_size": 17920,
            "num_attention_heads": 40,
            "num_hidden_layers": 40,
            "num_key_value_heads": 10,
            "vocab_size": 100352,
        },
        14_659_507_200,
    ),
    "all-mpnet-base-v2": (
        {"model_type": "mpnet", "architectures": ["MPNetModel"], "max_position_embeddings": 514},
        109_486_464,
    ),
    "electra-small-discriminator": ({"model_type": "electra", "architectures": ["ElectraModel"]}, 13_483_008),
    "albert-base-v2": (
        {
            "model_type": "albert",
            "architectures": ["AlbertModel"],
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
        },
        11_683_584,
    ),
    "camembert-base": (
        {
            "model_type": "camembert",
            "architectures": ["CamembertModel"],
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "vocab_size": 32005,
        },
        110_621_952,
    ),
    "mt5-small": ({"model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"]}, 300_176_768),
    "mbart-large-50": ({"model_type": "mbart", "architectures": ["MBartModel"], "vocab_size": 250054}, 610_879_488),
    "pegasus-large": (
        {"model_type": "pegasus", "architectures": ["PegasusModel"], "vocab_size": 96103} | _sides(layers=16),
        568_699_904,
    ),
    "dinov2-giant": (
        {
            "model_type": "dinov2",
            "architectures": ["Dinov2Model"],
            "hidden_size": 1536,
            "image_size": 518,
            "num_attention_heads": 24,
            "num_hidden_layers": 40,
            "use_swiglu_ffn": True,
        },
        1_136_480_768,
    ),
    "dinov2-with-registers-base": (
        {
            "model_type": "dinov2_with_registers",
            "architectures": ["Dinov2WithRegistersModel"],
            "image_size": 518,
            "patch_size": 14,
        },
        86_583_552,
    ),
    "dinov3-vits16-pretrain-lvd1689m": (
        {"model_type": "dinov3_vit", "architectures": ["DINOv3ViTModel"], "num_register_tokens": 4},
        21_596_544,
    ),
    "vit-mae-base": ({"model_type": "vit_mae", "architectures": ["ViTMAEForPreTraining"]}, 85_798_656),
    "beit-large-patch16-224": (
        {
            "model_type": "beit",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "num_labels": 1000,
            "use_relative_position_bias": True,
        },
        304_430_568,
    ),
    "gemma-2b": (
        {
            "model_type": "gemma",
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "num_attention_heads": 8,
            "num_hidden_layers": 18,
            "num_key_value_heads": 1,
        },
        2_506_172_416,
    ),
    "gemma-7b": ({"model_type": "gemma"}, 8_537_680_896),
    "paligemma-3b-pt-224": (
        {
            "model_type": "paligemma",
            "image_token_index": 257152,
            "text_config": {
                "model_type": "gemma",
                "hidden_size": 2048,
                "intermediate_size": 16384,
                "num_attention_heads": 8,
                "num_hidden_layers": 18,
                "num_key_value_heads": 1,
                "vocab_size": 257216,
            },
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "num_hidden_layers": 27,
                "patch_size": 14,
                "vision_use_head": False,
            },
        },
        2_923_466_480,
    ),
    "siglip2-base-patch16-224": ({"model_type": "siglip", "text_config": {"vocab_size": 256000}}, 375_187_970),
    "siglip-base-patch16-224": (
        {"model_type": "siglip_vision_model", "architectures": ["SiglipVisionModel"]},
        92_884_224,
    ),
    "Qwen2.5-VL-7B-Instruct": (
        QWEN_VL
        | {
            "model_type": "qwen2_5_vl",
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vision_config": QWEN_25_VISION | {"out_hidden_size": 3584},
        },
        8_292_166_656,
    ),
    "Qwen2-VL-2B-Instruct": (
        QWEN_VL
        | {
            "model_type": "qwen2_vl",
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
            "vision_config": {"embed_dim": 1280, "hidden_size": 1536},
        },
        2_208_985_600,
    ),
    "SmolVLM2-500M-Video-Instruct": (
        {
            "model_type": "smolvlm",
            "scale_factor": 4,
            "text_config": {
                "hidden_size": 960,
                "intermediate_size": 2560,
                "num_attention_heads": 15,
                "num_hidden_layers": 32,
                "num_key_value_heads": 5,
                "vocab_size": 49280,
            },
            "vision_config": SMOL_VISION,
        },
        507_482_304,
    ),
    "SmolVLM-Instruct": (
        {
            "model_type": "idefics3",
            "scale_factor": 3,
            "text_config": {
                "hidden_size": 2048,
                "intermediate_size": 8192,
                "num_attention_heads": 32,
                "num_hidden_layers": 24,
                "vocab_size": 49155,
            },
            "vision_config": {
                "hidden_size": 1152,
                "image_size": 384,
                "intermediate_size": 4304,
                "num_hidden_layers": 27,
                "patch_size": 14,
            },
        },
        2_246_272_880,
    ),
    "nllb-200-distilled-600M": (
        {"model_type": "m2m_100", "architectures": ["M2M100Model"], "vocab_size": 256206},
        615_073_792,
    ),
}


def shapes(core):
    return {name: list(weight.shape) for name, weight in core.named_parameters()}


@pytest.mark.quick(5)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_and_its_preset_are_one_model(name, capsys):
    config, count = PUBLISHED[name]
    family = family_of(config)
    with torch.device("meta"):
        model = build_model(family.recipe)
    assert parameters(model) == count
    main([f"core={name}", "--cfg", "job"])
    described = yaml.safe_load(capsys.readouterr().out)
    preset = build_on_meta(described)
    assert parameters(preset) == count
    assert shapes(preset["core"]) == shapes(model.core)


@pytest.mark.quick(8)
@pytest.mark.parametrize("name", [*PUBLISHED, *COUNTED])
def test_every_weight_of_a_published_model_has_its_line_in_the_table(name):
    config, count = (PUBLISHED | COUNTED)[name]
    family = family_of(config)
    with torch.device("meta"):
        model = build_model(family.recipe)
    assert parameters(model) == count
    placed = {}
    weights = dict(model.named_parameters())
    for line in family.names():
        if line.ours not in weights:  # offsets that are kept, not learned
            continue
        part = line.part(weights[line.ours])
        placed[line.ours] = placed.get(line.ours, 0) + part.numel()
    assert placed == {name: weight.numel() for name, weight in weights.items()}


@pytest.mark.slow
def test_gpt2_small_runs_on_a_cpu():
    model = build_model(family_of(PUBLISHED["gpt2_small"][0]).recipe).eval()
    tokens = torch.randint(50257, (2, 5))
    with torch.inference_mode():
        scores = model(batch_of(ids(tokens, torch.ones_like(tokens, dtype=torch.bool))), "causal_lm")
    assert scores.shape == (10, 50257) and scores.isfinite().all()
