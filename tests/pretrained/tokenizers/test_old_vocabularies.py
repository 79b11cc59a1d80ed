"""Folders from before tokenizer.json give the ids of the reference."""

import json

import pytest
import vocabularies
from vocabularies import TEXTS

from omniformer.pretrained.tokenizers.text import text_tokenizer


def split(kind, model_type, folder, **settings):
    """The folder as it was before tokenizer.json, and the reference's tokenizer of it."""
    made = vocabularies.KINDS[kind]()
    described = json.loads(made.backend_tokenizer.to_str())
    vocab = described["model"]["vocab"]
    if "merges" in described["model"]:
        (folder / "vocab.json").write_text(json.dumps(vocab))
        merges = [" ".join(merge) for merge in described["model"]["merges"]]
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    else:
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(vocab, key=vocab.__getitem__)))
    added = {token["content"]: token["id"] for token in described["added_tokens"] if token["content"] not in vocab}
    if added:
        (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return type(made).from_pretrained(folder)


def ours_of(folder, model_type):
    segments = 2 if model_type == "bert" else 1
    config = {"model_type": model_type, "vocab_size": 700, "type_vocab_size": segments}
    return text_tokenizer(folder, config)["text"]


@pytest.mark.parametrize(
    ("kind", "model_type", "settings"),
    [
        ("GPT-2", "gpt2", {}),
        ("GPT-2", "gpt2", {"add_prefix_space": True}),
        ("RoBERTa", "roberta", {}),
        ("BART", "bart", {"sep_token": {"content": "</s>", "__type": "AddedToken"}}),
        ("Qwen2", "qwen2", {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}),
        ("CLIP", "clip_text_model", {}),
        ("BERT", "bert", {}),
        ("BERT", "bert", {"do_lower_case": False, "strip_accents": True}),
    ],
)
def test_ids_and_texts_equal_the_references(kind, model_type, settings, tmp_path):
    theirs = split(kind, model_type, tmp_path, **settings)
    ours = ours_of(tmp_path, model_type)
    for text in TEXTS:
        expected = theirs(text).input_ids
        assert ours(text).values.tolist() == expected
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=True)
    pair = theirs("a cat", "the dog", return_token_type_ids=True)
    tokens = ours(("a cat", "the dog"))
    assert tokens.values.tolist() == pair.input_ids
    if model_type == "bert":
        assert tokens.features["segment"].tolist() == pair.token_type_ids


def test_whispers_texts_stand_behind_their_prompt(tmp_path):
    special = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]
    theirs = split("Whisper", "whisper", tmp_path, additional_special_tokens=special, language="de", task="transcribe")
    expected = [*special[:1], *special[2:], "<|endoftext|>"]
    ids = ours_of(tmp_path, "whisper")("").values.tolist()
    assert ids == theirs.convert_tokens_to_ids(expected)


def test_tokens_added_later_have_the_ids_of_the_file(tmp_path):
    split("GPT-2", "gpt2", tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<later>": 331, "<last>": 332}))
    ours = ours_of(tmp_path, "gpt2")
    assert ours("a<last>").values.tolist()[-1] == 332
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<later>": 400}))
    with pytest.raises(ValueError, match=r"vocab\.json .*'<later>' has id 400 in one file, 331 in others"):
        ours_of(tmp_path, "gpt2")


def test_a_model_that_cuts_text_in_an_unknown_way_is_refused(tmp_path):
    split("GPT-2", "gpt2", tmp_path)
    with pytest.raises(ValueError, match=r"vocab\.json: only of gpt2, .* not of model_type='llama'"):
        ours_of(tmp_path, "llama")


@pytest.mark.parametrize(
    ("name", "content"), [("vocab.json", '{"a": "b"}'), ("merges.txt", "a b c\n"), ("vocab.json", "[")]
)
def test_a_damaged_file_is_named(name, content, tmp_path):
    split("GPT-2", "gpt2", tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"vocab\.json"):
        ours_of(tmp_path, "gpt2")


def test_a_list_of_words_without_the_special_ones_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"vocab\.txt"):
        ours_of(tmp_path, "bert")


def test_only_line_feeds_end_a_piece_and_a_byte_order_mark_is_none(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a\u2028b", "\x85", "\x0c", "cat"]
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + "".join(f"{piece}\r\n" for piece in pieces).encode())
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + b'{"model_type": "bert"}')
    tokenizer = ours_of(tmp_path, "bert")
    assert tokenizer("cat").values.tolist() == [2, 8, 3]
    assert tokenizer.vocab_size == 9
