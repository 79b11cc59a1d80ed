"""Published folders in little: a model of the reference library with random weights, and a vocabulary of texts."""

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
