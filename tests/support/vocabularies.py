"""Small vocabularies of every published kind, made with the reference library, and what it says of them."""

import io
import json
from collections import Counter

import pytest

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

transformers = pytest.importorskip("transformers")

CORPUS = [
    "The quick brown fox jumps over the lazy dog, doesn't it? 123 + 45 = 168.",
    "Ein naïver Café-Besucher sah 😀 über der Größe! It's the fox's dog.",
    "a cat and a dog and a bird; the cat sat on the mat.",
] * 4
TEXTS = [
    "The quick brown fox",
    "",
    " ",
    "a  cat   and\n\tthe dog's bird . It didn't , we 've !",
    "Größe naïve café 😀🎉 日本語 ΑΒΓ",
    " leading and trailing ",
    "UPPER lower MiXed 2024-01-31 x=3.5%",
]


def bytes_vocabulary(size=330):
    """Vocabulary and merges of byte-level pairs, as in GPT-2."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    return parts_of(model)


def parts_of(model):
    """Vocabulary and merges of a byte-pair model."""
    described = json.loads(model.to_str())["model"]
    return described["vocab"], [tuple(merge) for merge in described.get("merges", ())]


def behind(vocab, *names):
    """The vocabulary with special tokens as its last ids."""
    return {**vocab, **{name: len(vocab) + i for i, name in enumerate(names)}}


def bert(**options):
    model = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    model.normalizer = normalizers.BertNormalizer()
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # The trainer numbers letters as it finds them, in another order each time, and of equally frequent pairs merges
    # those of the lowest numbers: letters inside words are numbered here, as if they were special.
    letters = sorted(set("".join(map(model.normalizer.normalize_str, CORPUS))) - {" "})
    numbered = [*special, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=240, special_tokens=numbered, initial_alphabet=letters, show_progress=False
    )
    model.train_from_iterator(CORPUS, trainer)
    words = [*special, *sorted(set(model.get_vocab()) - set(special))]
    return transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}, **options)


def gpt2(**options):
    vocab, merges = bytes_vocabulary()
    return transformers.GPT2Tokenizer(vocab=behind(vocab, "<|endoftext|>"), merges=merges, **options)


def roberta(kind=None, **options):
    vocab, merges = bytes_vocabulary()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocab = {**{name: i for i, name in enumerate(special)}, **{token: i + 4 for token, i in vocab.items()}}
    return (kind or transformers.RobertaTokenizer)(vocab=behind(vocab, "<mask>"), merges=merges, **options)


def bart(**options):
    return roberta(transformers.BartTokenizer, **options)


def qwen(**options):
    vocab, merges = bytes_vocabulary()
    vocab = behind(vocab, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocab, merges=merges, **options)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


def clip(**options):
    model = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    model.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    model.train_from_iterator(CORPUS, trainer)
    vocab, merges = parts_of(model)
    # The trainer finds the same pairs in another order each time; the shorter ones must come first.
    merges = sorted(map(tuple, merges), key=lambda pair: (len("".join(pair)), pair))
    letters = dict.fromkeys([*sorted(vocab), *(f"{letter}</w>" for letter in alphabet)])
    vocab = {token: i for i, token in enumerate(letters)}
    return transformers.CLIPTokenizer(vocab=behind(vocab, "<|startoftext|>", "<|endoftext|>"), merges=merges, **options)


def llama(**options):
    """Pairs of characters with bytes to fall back on, as in LLaMA 2."""
    model = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    model.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    # The trainer itself draws among letters that are equally frequent.
    counts = Counter("".join(CORPUS).replace(" ", "\u2581"))
    letters = sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[:40])
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, show_progress=False, initial_alphabet=letters, limit_alphabet=40
    )
    model.train_from_iterator(CORPUS, trainer)
    vocab, merges = parts_of(model)
    return transformers.LlamaTokenizer(vocab=vocab, merges=merges, **({"add_bos_token": True} | options))


def t5(**options):
    model = Tokenizer(models.Unigram())
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    model.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    model.train_from_iterator(CORPUS, trainer)
    found = [(piece, round(score, 3)) for piece, score in json.loads(model.to_str())["model"]["vocab"]]
    # The last digits, and with them the order, are others each time.
    pieces = [*found[:3], *sorted(found[3:], key=lambda each: (-each[1], each[0]))]
    pieces += [(f"<extra_id_{i}>", 0.0) for i in reversed(range(5))]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=5, **options)


def whisper(**options):
    vocab, merges = bytes_vocabulary()
    tasks = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", *tasks]
    tokenizer = transformers.WhisperTokenizer(vocab=behind(vocab, *special), merges=merges, **options)
    tokenizer.add_special_tokens({"extra_special_tokens": special[1:]})
    tokenizer.add_tokens([transformers.AddedToken(f"<|{i * 0.02:.2f}|>", special=False) for i in range(5)])
    return tokenizer


KINDS = {
    "BERT": bert,
    "BERT cased": lambda: bert(do_lower_case=False),
    "GPT-2": gpt2,
    "RoBERTa": roberta,
    "BART": bart,
    "Qwen2": qwen,
    "CLIP": clip,
    "LLaMA 2": llama,
    "T5": t5,
    "Whisper": whisper,
}


def pieces(path, **options):
    """Writes a file of the library sentencepiece, trained on the same texts."""
    library = pytest.importorskip("sentencepiece")
    file = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=file, hard_vocab_limit=False, minloglevel=2, **options
    )
    path.write_bytes(file.getvalue())
    return path


def t5_pieces(folder):
    return pieces(folder / "spiece.model", vocab_size=120, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)


def llama_pieces(folder):
    kind = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"}
    return pieces(
        folder / "tokenizer.model", vocab_size=400, character_coverage=0.98, remove_extra_whitespaces=False, **kind
    )


def marian_pieces(folder):
    """Two files that share one list of ids, as Marian's."""
    library = pytest.importorskip("sentencepiece")
    found = {}
    for name, size in (("source", 110), ("target", 100)):
        file = pieces(folder / f"{name}.spm", vocab_size=size)
        processor = library.SentencePieceProcessor(model_file=str(file))
        found |= dict.fromkeys(processor.id_to_piece(i) for i in range(3, processor.get_piece_size()))
    ids = {piece: i for i, piece in enumerate(["</s>", "<unk>", *found, ">>fra<<", "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "tokenizer_config.json").write_text(json.dumps({"source_lang": "en", "target_lang": "de"}))
    return folder
