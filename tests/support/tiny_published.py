"""Published folders in little: a model of the reference library with random weights, and a vocabulary of texts."""

import json

import pytest
from twins import shaken, transformers

TEXTS = [f"the {a} {b} is {c}." for a in ("big", "small", "red") for b in ("cat", "dog") for c in ("here", "gone")]


def byte_pairs(folder, specials=("<|endoftext|>",), vocab_size=300):
    """A byte-level vocabulary as GPT-2 has one; its number of ids."""
    from omniformer_tokenizers import BPETokenizer

    tokenizer = BPETokenizer(vocab_size=vocab_size, special_tokens=specials).fit(TEXTS * 3)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer._save_files(folder)
    return tokenizer.vocab_size


def word_pieces(folder):
    """A vocabulary of letters and some words as BERT has one; its number of ids."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = [chr(i) for i in range(33, 127)]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), "the", "cat"]
    model = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    )
    model.normalizer = tokenizers.normalizers.BertNormalizer()
    model.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    model.decoder = tokenizers.decoders.WordPiece()
    model.add_special_tokens(names[:5])
    folder.mkdir(parents=True, exist_ok=True)
    model.save(str(folder / "tokenizer.json"))
    return len(names)


def gpt2(folder, **others):
    """A folder of GPT-2."""
    n = byte_pairs(folder)
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 64, "vocab_size": n}
    config = transformers.GPT2Config(**(sizes | {"bos_token_id": 0, "eos_token_id": 0} | others))
    shaken(transformers.GPT2LMHeadModel(config)).save_pretrained(folder)
    return folder


def bert(folder, kind="BertForMaskedLM", **others):
    """A folder of BERT."""
    n = word_pieces(folder)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    config = transformers.BertConfig(**(sizes | {"vocab_size": n, "max_position_embeddings": 128} | others))
    shaken(getattr(transformers, kind)(config)).save_pretrained(folder)
    return folder


def bart(folder, **others):
    """A folder of BART."""
    n = byte_pairs(folder, specials=("<s>", "<pad>", "</s>"))
    sizes = {"d_model": 24, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "max_position_embeddings": 64}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 2}
    config = transformers.BartConfig(**(sizes | layers | {"vocab_size": n} | others))
    shaken(transformers.BartForConditionalGeneration(config)).save_pretrained(folder)
    return folder


def t5(folder, **others):
    """A folder of T5."""
    n = byte_pairs(folder, specials=("<pad>", "</s>"))
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 1, "num_decoder_layers": 2, "num_heads": 3}
    config = transformers.T5Config(**(sizes | {"vocab_size": n, "decoder_start_token_id": 0} | others))
    shaken(transformers.T5ForConditionalGeneration(config)).save_pretrained(folder)
    return folder


def vit(folder, **others):
    """A folder of ViT for pictures of digits."""
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
    picture = {"image_size": 8, "patch_size": 4, "num_channels": 1}
    config = transformers.ViTConfig(**(sizes | picture | others))
    shaken(transformers.ViTForImageClassification(config)).save_pretrained(folder)
    resized = {"do_resize": True, "size": {"height": 8, "width": 8}, "resample": 2, "do_rescale": True}
    scaled = {"rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5], "image_std": [0.5]}
    settings = {"image_processor_type": "ViTImageProcessor"} | resized | scaled
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def clip(folder):
    """A folder of CLIP for pictures of 16 x 16."""
    tokenizers, names = pytest.importorskip("tokenizers"), ("<|startoftext|>", "<|endoftext|>")
    n = byte_pairs(folder, specials=names)
    written = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    around = f"{names[0]} $A {names[1]}"
    specials = [(name, i) for i, name in enumerate(names)]
    written.post_processor = tokenizers.processors.TemplateProcessing(single=around, special_tokens=specials)
    written.save(str(folder / "tokenizer.json"))
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
    text = sizes | ids | {"vocab_size": n, "max_position_embeddings": 32}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=sizes | {"image_size": 16, "patch_size": 8}, projection_dim=12
    )
    shaken(transformers.CLIPModel(config)).save_pretrained(folder)
    made = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(made))
    resized = {"do_resize": True, "size": {"shortest_edge": 16}, "resample": 3, "do_center_crop": True}
    scaled = {"crop_size": {"height": 16, "width": 16}, "do_rescale": True, "do_normalize": True}
    means = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "do_convert_rgb": True}
    settings = {"image_processor_type": "CLIPImageProcessor"} | resized | scaled | means
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
