import base64
import json
import unicodedata

import pytest
from omniformer_tokenizers import BPETokenizer, from_gpt2, from_tiktoken
from omniformer_tokenizers.text.tokenizer_json import character_of_byte

TEXTS = ["the cat and the dog and the bird", "def f(x):\n    return x\n", "naïve café"] * 3
PROBES = ["the cat", "a <|endoftext|> b", "naïve 😀\n\n  x1 '", ""]


@pytest.fixture(scope="module")
def trained() -> BPETokenizer:
    return BPETokenizer(vocab_size=330).fit(TEXTS)


def test_a_tokenizer_json_gives_the_ids_of_the_library(trained, tmp_path):
    from tokenizers import Tokenizer

    path = tmp_path / "tokenizer.json"
    trained._model.save(str(path))
    library, ours = Tokenizer.from_file(str(path)), BPETokenizer.from_file(path)
    assert ours.special_tokens == ("<|endoftext|>",)
    for text in ("the cat", "naïve 😀\n\n  x1 '"):
        assert ours(text).values.tolist() == library.encode(text).ids


def test_gpt2_files_give_the_ids_of_transformers(trained, tmp_path):
    from transformers import GPT2Tokenizer

    trained._model.model.save(str(tmp_path))
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    ours = from_gpt2(vocab, merges)
    theirs = GPT2Tokenizer(
        vocab=json.loads(vocab.read_text()),
        merges=[tuple(line.split()) for line in merges.read_text().splitlines()[1:]],
    )
    for text in ("the cat", "naïve 😀\n\n  x1 '"):
        assert ours(text).values.tolist() == theirs.encode(text)
    assert all(ours.decode(ours(text)) == text for text in PROBES)


def test_a_tiktoken_file_gives_the_same_tokens(trained, tmp_path):
    byte_of = {character: byte for byte, character in character_of_byte().items()}
    bytes_of = {i: bytes(byte_of[c] for c in t) for t, i in trained._model.get_vocab().items() if i}
    path = tmp_path / "own.tiktoken"
    lines = [f"{base64.b64encode(bytes_of[i]).decode()} {i - 1}" for i in sorted(bytes_of)]
    path.write_text("\n".join(lines) + "\n")
    ours = from_tiktoken(path)
    assert ours.end_of_text == len(lines)
    for text in PROBES:
        assert [i + 1 for i in ours(text).values.tolist()] == trained(text).values.tolist()


def test_another_pattern_cuts_words_differently(trained, tmp_path):
    path = tmp_path / "digits.tiktoken"
    tokens = [bytes([byte]) for byte in range(256)] + [b"12"]
    path.write_text("\n".join(f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)))
    assert from_tiktoken(path)("12").values.tolist() == [256]
    assert from_tiktoken(path, pattern=r"\p{N}|[^\p{N}]+")("12").values.tolist() == [ord("1"), ord("2")]


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        ("[]", "", "not a JSON object"),
        ("{", "", "not valid JSON"),
        ('{"a": 0}', "a b c", "line 1: expected two parts"),
        ('{"a": 0}', "#version: 0.2\na x", "not a byte-pair vocabulary"),
        ('{"a": 0}', "", "no token for 255"),
    ],
)
def test_damaged_gpt2_files_are_named(tmp_path, vocab, merges, message):
    (tmp_path / "vocab.json").write_text(vocab)
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(ValueError, match=message):
        from_gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_a_damaged_tiktoken_file_is_named(tmp_path):
    path = tmp_path / "x.tiktoken"
    path.write_text("YQ== 0\n!!! 1\n")
    with pytest.raises(ValueError, match=r"x\.tiktoken, line 2"):
        from_tiktoken(path)


def test_a_file_with_rules_of_its_own_gives_the_ids_of_the_library(trained, tmp_path):
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    from tokenizers import AddedToken, Regex, Tokenizer, normalizers, processors

    library = Tokenizer.from_str(trained._model.to_str())
    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    library.pre_tokenizer = Sequence([Split(Regex(pattern), "isolated"), ByteLevel(False, use_regex=False)])
    library.normalizer = normalizers.NFC()
    library.add_tokens([AddedToken("\t\t", normalized=False)])
    library.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", trained.end_of_text)]
    )
    library.enable_truncation(4)
    library.save(str(tmp_path / "tokenizer.json"))
    ours = BPETokenizer.from_file(tmp_path / "tokenizer.json")
    library.no_truncation()
    for text in ("the cat's 12345!\n\n  \t\tx", "cafe\u0301 and the dog", "(the)\n"):
        ids = ours(text).values.tolist()
        assert ids == library.encode(text, add_special_tokens=False).ids
        assert ours.decode(ids) == unicodedata.normalize("NFC", text)
