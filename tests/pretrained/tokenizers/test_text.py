"""Tokenizers from the files of a folder: the ids of the reference, whichever files there are."""

import json

import pytest
import vocabularies
from omniformer_tokenizers import SentencePieceTokenizer, SubwordTokenizer
from vocabularies import TEXTS, transformers

from omniformer.pretrained.tokenizers.text import text_tokenizer

# Whose configuration goes with which vocabulary.
TYPES = {
    "BERT": "bert",
    "BERT cased": "bert",
    "GPT-2": "gpt2",
    "RoBERTa": "roberta",
    "BART": "bart",
    "Qwen2": "qwen2",
    "CLIP": "clip_text_model",
    "LLaMA 2": "llama",
    "T5": "t5",
    "Whisper": "whisper",
}


def config(kind="llama", size=400, **others):
    return {"model_type": kind, "vocab_size": size, "bos_token_id": 1, "eos_token_id": 2, **others}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def folder_of(kind, folder):
    """A folder in which the reference has written a vocabulary; and what it reads from there."""
    vocabularies.KINDS[kind]().save_pretrained(folder)
    write(folder / "config.json", {"model_type": TYPES[kind]})
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", TYPES)
def test_ids_equal_the_references(kind, tmp_path):
    theirs = folder_of(kind, tmp_path)
    segments = 2 if kind.startswith("BERT") else 1
    ours = text_tokenizer(tmp_path, config(TYPES[kind], len(theirs), type_vocab_size=segments))["text"]
    assert isinstance(ours, SubwordTokenizer)
    for text in TEXTS:
        expected = theirs(text)
        tokens = ours(text)
        assert tokens.values.tolist() == expected.input_ids
        assert ours.decode(tokens) == theirs.decode(expected.input_ids, skip_special_tokens=True)
        if segments == 2:
            assert tokens.features["segment"].tolist() == expected.token_type_ids
        else:
            assert not tokens.features


def test_the_vocabulary_of_another_model_is_known_by_special_tokens_that_it_lacks(tmp_path):
    folder_of("BERT", tmp_path)
    vocabularies.KINDS["GPT-2"]().save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "tokenizer.json").replace(tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match=r"tokenizer.json has no '\[\w+\]', which tokenizer_config.json calls its"):
        text_tokenizer(tmp_path, config("bert", 10_000))


@pytest.mark.parametrize(("front", "back"), [(True, False), (False, True), (True, True), (False, False)])
def test_settings_say_what_stands_around_texts_of_llama(front, back, tmp_path):
    vocabularies.llama(add_bos_token=front, add_eos_token=back).save_pretrained(tmp_path)
    described = json.loads((tmp_path / "tokenizer.json").read_text())
    described["post_processor"] = None
    write(tmp_path / "tokenizer.json", described)
    write(tmp_path / "config.json", {"model_type": "llama"})
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = text_tokenizer(tmp_path, config())["text"]
    assert ours("a cat").values.tolist() == theirs("a cat").input_ids
    pair = theirs("a cat", "the dog").input_ids
    assert ours(("a cat", "the dog")).values.tolist() == pair


def test_points_in_time_of_whisper_are_no_text(tmp_path):
    theirs = folder_of("Whisper", tmp_path)
    ours = text_tokenizer(tmp_path, config("whisper"))["text"]
    ids = [*theirs("a cat").input_ids[:-1], theirs.convert_tokens_to_ids("<|0.04|>"), theirs.eos_token_id]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True) == "a cat"


def test_a_model_begins_and_stops_as_its_files_say(tmp_path):
    folder_of("LLaMA 2", tmp_path)
    ours = text_tokenizer(tmp_path, config())["text"]
    assert (ours.beginning, ours.stops) == ((1,), (2,))
    decoder = text_tokenizer(tmp_path, config(decoder_start_token_id=5))["text"]
    assert decoder.beginning == (5,)
    assert text_tokenizer(tmp_path, config(), start=[4, 5])["text"].beginning == (4, 5)
    unsaid = text_tokenizer(tmp_path, {"vocab_size": 400, "eos_token_id": 2})["text"]
    assert unsaid.beginning == (2,)  # where a text before ends, the next one begins
    write(tmp_path / "generation_config.json", {"eos_token_id": [2, 7], "bos_token_id": None})
    chatting = text_tokenizer(tmp_path, config())["text"]
    assert (chatting.beginning, chatting.stops) == ((1,), (2, 7))


def test_all_texts_of_a_model_have_its_tokenizer(tmp_path):
    folder_of("BART", tmp_path)
    found = text_tokenizer(tmp_path, config("bart"), modalities=("source", "text"))
    assert list(found) == ["source", "text"]
    assert found["source"] is found["text"]


def test_t5_in_a_file_of_sentencepiece(tmp_path):
    vocabularies.t5_pieces(tmp_path)
    write(tmp_path / "config.json", {"model_type": "t5"})
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = text_tokenizer(tmp_path, config("t5", len(theirs)))["text"]
    assert isinstance(ours, SentencePieceTokenizer)
    for text in TEXTS:
        assert ours(text).values.tolist() == theirs(text).input_ids
    assert ours.special_id("<extra_id_0>") == theirs.convert_tokens_to_ids("<extra_id_0>")


def test_llama_in_a_file_of_sentencepiece(tmp_path):
    vocabularies.llama_pieces(tmp_path)
    theirs = transformers.LlamaTokenizer.from_pretrained(tmp_path, add_bos_token=True)
    ours = text_tokenizer(tmp_path, config())["text"]
    assert ours("the quick cat").values.tolist() == theirs("the quick cat").input_ids


@pytest.mark.filterwarnings("ignore:Recommended")
def test_translators_have_one_vocabulary_for_each_side(tmp_path):
    vocabularies.marian_pieces(tmp_path)
    theirs = transformers.MarianTokenizer.from_pretrained(tmp_path)
    said = {"decoder_start_token_id": theirs.pad_token_id, "eos_token_id": 0}
    found = text_tokenizer(tmp_path, config("marian", len(theirs), **said), modalities=("source", "text"))
    for text in TEXTS:
        assert found["source"](text).values.tolist() == theirs(text).input_ids
        target = theirs(text_target=text).input_ids
        assert found["text"](text).values.tolist() == target
        assert found["text"].answer(found["text"](text)).values.tolist() == [theirs.pad_token_id, *target]
    (tmp_path / "target.spm").unlink()
    with pytest.raises(ValueError, match=r"holds source\.spm, but no target\.spm"):
        text_tokenizer(tmp_path, config("marian", len(theirs)), modalities=("source", "text"))


def test_a_folder_without_a_vocabulary_has_no_tokenizer(tmp_path):
    assert text_tokenizer(tmp_path, config()) == {}


def test_a_model_may_have_more_rows_than_ids_but_not_fewer(tmp_path):
    theirs = folder_of("GPT-2", tmp_path)
    assert text_tokenizer(tmp_path, config("gpt2", len(theirs) + 50))
    message = rf"tokenizer\.json has ids up to {len(theirs) - 1}, the model knows vocab_size={len(theirs) - 1}"
    with pytest.raises(ValueError, match=message):
        text_tokenizer(tmp_path, config("gpt2", len(theirs) - 1))


def test_stops_and_starts_that_are_no_ids_of_the_model_are_told(tmp_path, caplog):
    folder_of("LLaMA 2", tmp_path)
    write(tmp_path / "generation_config.json", {"eos_token_id": [2, 10**9], "bos_token_id": -1})
    assert text_tokenizer(tmp_path, {"vocab_size": 400})["text"].stops == (2,)
    assert "generation_config.json: eos_token_id: left out: 1000000000; the model knows the 400 ids" in caplog.text
    assert "generation_config.json: bos_token_id: left out: -1" in caplog.text
    write(tmp_path / "generation_config.json", {})
    with pytest.raises(ValueError, match=r"/config.json: eos_token_id is 1.5; accepted: an id"):
        text_tokenizer(tmp_path, {"vocab_size": 400, "eos_token_id": 1.5})


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_a_damaged_file_is_named(name, tmp_path):
    folder_of("LLaMA 2", tmp_path)
    path = tmp_path / name
    path.write_text("{" if not path.is_file() else path.read_text()[:-20])
    with pytest.raises(ValueError, match=name):
        text_tokenizer(tmp_path, config())
