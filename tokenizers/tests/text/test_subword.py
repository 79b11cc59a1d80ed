"""Published vocabularies give the ids and texts of the reference library, and are safe to read."""

import json
import pickle

import omniformer_tokenizers as ot
import pytest
import torch
import vocabularies
from omniformer_tokenizers import SubwordTokenizer

SPECIAL = {"BERT": "[SEP]", "GPT-2": "<|endoftext|>", "LLaMA 2": "</s>", "Whisper": "<|de|>"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The reference's tokenizers, read again from files, and where these are."""
    made = {}
    for name, make in vocabularies.KINDS.items():
        folder = tmp_path_factory.mktemp("vocabulary")
        tokenizer = make()
        tokenizer.save_pretrained(folder)
        made[name] = (type(tokenizer).from_pretrained(folder), folder / "tokenizer.json")
    return made


@pytest.fixture(params=vocabularies.KINDS)
def both(saved, request):
    theirs, path = saved[request.param]
    return theirs, path


def test_ids_and_texts_equal_the_references(both):
    theirs, path = both
    ours = SubwordTokenizer.from_file(path)
    assert ours.vocab_size == len(theirs)
    for text, tokens in zip(vocabularies.TEXTS, ours.encode_batch(vocabularies.TEXTS), strict=True):
        expected = theirs(text).input_ids
        assert tokens.values.tolist() == expected
        assert ours.decode(tokens) == theirs.decode(expected, skip_special_tokens=True)
        plain = theirs(text, add_special_tokens=False).input_ids
        assert [ids.tolist() for ids in ours.encode_ids([text])] == [plain]


def test_pairs_equal_the_references(both):
    theirs, path = both
    expected = theirs("a cat", "the dog's", return_token_type_ids=True)
    tokens = SubwordTokenizer.from_file(path, segments=True)(("a cat", "the dog's"))
    assert tokens.values.tolist() == expected.input_ids
    assert tokens.features["segment"].tolist() == expected.token_type_ids


def test_each_token_says_which_text_it_stands_in(both):
    theirs, path = both
    pair = ("a cat", "the dog's")
    expected = [-1 if text is None else text for text in theirs(*pair).sequence_ids()]
    ours = SubwordTokenizer.from_file(path)
    assert ours.which_text(pair).tolist() == expected
    assert set(ours.which_text("a cat").tolist()) <= {-1, 0}


@pytest.mark.parametrize("name", SPECIAL)
def test_text_that_spells_a_special_token_stays_text_unless_asked(saved, name):
    theirs, path = saved[name]
    text, ours = f"a cat{SPECIAL[name]} and", SubwordTokenizer.from_file(path)
    special = ours.special_id(SPECIAL[name])
    plain = theirs(text, split_special_tokens=True).input_ids
    expected = theirs(text).input_ids
    assert expected.count(special) == plain.count(special) + 1
    reading = ours.reading_special()
    for form in (ours, pickle.loads(pickle.dumps(ours))):
        assert form(text).values.tolist() == plain
    for form in (reading, pickle.loads(pickle.dumps(reading))):
        assert form(text).values.tolist() == expected
    assert ours(text).values.tolist() == plain  # the first one has not changed
    assert reading.digest != ours.digest == SubwordTokenizer.from_file(path).digest


def test_unigram_pieces_that_are_special_are_unknown_in_text(saved):
    theirs, path = saved["T5"]
    text, ours = "a cat<extra_id_0> and</s>", SubwordTokenizer.from_file(path)
    special = {ours.special_id("<extra_id_0>"), ours.special_id("</s>")}
    for form in (ours, pickle.loads(pickle.dumps(ours))):
        ids = form(text).values.tolist()
        assert ids[-1] == ours.special_id("</s>")
        assert not special & set(ids[:-1])
        assert ours.special_id("<unk>") in ids
    assert ours.reading_special()(text).values.tolist() == theirs(text).input_ids


def test_a_folder_brings_back_what_a_model_begins_and_stops_with(saved, tmp_path):
    options = {"start": "<|endoftext|>", "stop": ["<|im_end|>", "<|endoftext|>"], "special_in_text": True}
    ours = SubwordTokenizer.from_file(saved["Qwen2"][1], **options)
    ours.save_pretrained(tmp_path)
    again = ot.load(tmp_path)
    assert (again.beginning, again.stops, again.stop) == (ours.beginning, ours.stops, ours.stop)
    assert again.stops == (ours.special_id("<|im_end|>"), ours.special_id("<|endoftext|>"))
    assert again.end_of_text == again.stop
    assert again.special_in_text
    assert again.digest == ours.digest


def test_bytes_of_ids_join_to_the_text(saved):
    ours = SubwordTokenizer.from_file(saved["GPT-2"][1])
    text = "the naïve 😀 cat"
    assert b"".join(ours.token_bytes[i] for i in ours(text).values.tolist()) == text.encode()
    assert ours.token_bytes[ours.special_id("<|endoftext|>")] == b""
    with pytest.raises(AttributeError, match="only vocabularies of bytes"):
        _ = SubwordTokenizer.from_file(saved["LLaMA 2"][1]).token_bytes


def test_offsets_point_at_the_characters_of_each_token(saved):
    ours, text = SubwordTokenizer.from_file(saved["BERT"][1]), "The Café-dog"
    offsets = ours.offsets(text).tolist()
    assert offsets[0] == offsets[-1] == [0, 0]
    assert "".join(text[a:b] for a, b in offsets) == "TheCafé-dog"


def test_spaces_are_cleaned_as_the_configuration_says(saved):
    theirs, path = saved["T5"]
    ids = theirs("the dog . It didn 't , we 've !").input_ids
    ours = SubwordTokenizer.from_file(path, clean_up_spaces=True)
    expected = theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True)
    assert ours.decode(ids) == expected != SubwordTokenizer.from_file(path).decode(ids)
    kept = SubwordTokenizer.from_file(saved["GPT-2"][1], clean_up_spaces=True)
    assert kept.decode(kept("a . b")) == "a . b"


def test_rows_that_mean_nothing_are_left_out_of_the_text(saved):
    ours = SubwordTokenizer.from_file(saved["GPT-2"][1])
    ids = ours("the cat").values.tolist()
    assert ours.decode([*ids, ours.vocab_size + 7]) == "the cat"
    with pytest.raises(ValueError, match="id -1 is negative"):
        ours.decode([-1])


def test_lengths_and_padding_that_a_file_asks_for_are_left_to_the_caller(saved):
    described = json.loads(saved["BERT"][1].read_text())
    described["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    described["padding"] = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None}
    described["padding"] |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    ours = SubwordTokenizer.from_text(json.dumps(described), "tokenizer.json")
    text = "the cat sat on the mat"
    assert ours(text).values.tolist() == saved["BERT"][0](text).input_ids


def test_what_is_no_text_is_refused(saved):
    ours = SubwordTokenizer.from_file(saved["BERT"][1])
    for wrong in (b"a", ("a", "b", "c"), ("a", 1)):
        with pytest.raises(TypeError, match="where text was expected"):
            ours(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-40], "is not a tokenizer.json"),
        (lambda text: "[]", "is not a tokenizer.json"),
        (lambda text: text.replace('"WordPiece"', '"Pickle"'), "is not a tokenizer.json"),
        (
            lambda text: text.replace('"ids": [\n          2\n        ]', '"ids": [\n          9999\n        ]'),
            "puts id 9999",
        ),
    ],
    ids=["cut off", "a list", "another model", "a template of other ids"],
)
def test_a_damaged_file_is_named(saved, tmp_path, change, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(change(saved["BERT"][1].read_text()))
    with pytest.raises(ValueError, match=message) as found:
        SubwordTokenizer.from_file(path)
    assert str(path) in str(found.value)


def test_a_file_that_is_not_even_text_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be read as UTF-8 text"):
        SubwordTokenizer.from_file(path)


def test_merges_dropped_at_random_are_refused(saved):
    described = json.loads(saved["GPT-2"][1].read_text())
    described["model"]["dropout"] = 0.1
    with pytest.raises(ValueError, match=r"there drops merges at random \(dropout=0\.1"):
        SubwordTokenizer.from_text(json.dumps(described), "there")


def test_an_unknown_stop_is_told_with_the_file(saved):
    with pytest.raises(ValueError, match=r"tokenizer\.json: '</s>' is not a special token .* it has"):
        SubwordTokenizer.from_file(saved["BERT"][1], stop="</s>")


def test_nothing_is_learned_from_data(saved):
    with pytest.raises(ValueError, match="reads published vocabularies and learns none"):
        SubwordTokenizer().fit(["a"])
    ours = SubwordTokenizer.from_file(saved["BERT"][1])
    assert ours.fit(["a"]) is ours


def framed(tokenizer, text):
    return tokenizer.answer(tokenizer(text)).values.tolist()


def test_an_answer_begins_and_ends_once_whatever_the_template_adds(saved):
    """Decoders of T5 begin with padding; LLaMA's template begins texts, T5's ends them; BART's does both."""

    def made(name, **options):
        tokenizer = SubwordTokenizer.from_file(saved[name][1], **options)
        return tokenizer, tokenizer.encode_ids(["a cat"])[0].tolist()

    tokenizer, plain = made("LLaMA 2", start="<s>", stop="</s>")
    assert framed(tokenizer, "a cat") == [1, *plain, 2]
    tokenizer, plain = made("T5", start="<pad>", stop="</s>")
    assert framed(tokenizer, "a cat") == [0, *plain, 1]
    assert framed(tokenizer, "") == [0, 1]
    tokenizer, plain = made("BART", start="</s>", stop="</s>")
    assert framed(tokenizer, "a cat") == [2, 0, *plain, 2]
    tokenizer, plain = made("BART", start=["</s>", "<s>"], stop="</s>")
    assert framed(tokenizer, "a cat") == [2, 0, *plain, 2]
    tokenizer, plain = made("GPT-2", start="<|endoftext|>", stop="<|endoftext|>")
    assert framed(tokenizer, "a cat") == [330, *plain, 330]
    prompt = ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"]
    tokenizer, plain = made("Whisper", start=prompt, stop="<|endoftext|>")
    assert framed(tokenizer, "a cat") == [*map(tokenizer.special_id, prompt), *plain, tokenizer.stop]


def test_a_prompt_is_what_the_template_makes_of_it_and_the_beginning_where_there_is_none(saved):
    nothing = ot.Tokens(values=torch.zeros(0, dtype=torch.long), positions=torch.zeros(0, 1), modality="text")
    llama = SubwordTokenizer.from_file(saved["LLaMA 2"][1], start="<s>", stop="</s>")
    tokens = llama("a cat")
    assert llama.begun(tokens) is tokens
    assert tokens.values.tolist().count(1) == 1
    assert llama.begun(nothing).values.tolist() == [1]
    whisper = SubwordTokenizer.from_file(saved["Whisper"][1], start=["<|startoftranscript|>", "<|en|>"])
    assert whisper.begun(nothing).values.tolist() == list(whisper.beginning)


def test_further_special_tokens_stand_behind_the_others_and_the_rest_stays(both):
    _, path = both
    ours = SubwordTokenizer.from_file(path, segments=True)
    larger = ours.with_special_tokens(["<image>", "<sound>"])
    n = ours.vocab_size
    assert (larger.special_id("<image>"), larger.special_id("<sound>"), larger.vocab_size) == (n, n + 1, n + 2)
    for text in vocabularies.TEXTS:
        assert torch.equal(larger(text).values, ours(text).values)
    assert larger.config() == ours.config()
    assert n not in larger("a <image>").values and n in larger.reading_special()("a <image>").values
    with pytest.raises(ValueError, match="'<image>' is a token of this vocabulary already"):
        larger.with_special_tokens(["<image>"])


@pytest.mark.parametrize("kind", ["GPT-2", "LLaMA 2", "T5"])
def test_sizes_of_ids_add_up_to_the_bytes_of_the_text(saved, kind):
    ours, text = SubwordTokenizer.from_file(saved[kind][1]), "the quick cat's café 😀"
    ids = ours.encode_ids([text])[0].tolist()
    unknown = [i for i in ids if kind == "T5" and i == ours.special_id("<unk>")]
    lost = len("é😀".encode()) if unknown else 0
    blank = 0 if kind == "GPT-2" else 1  # the one that is put before every text
    assert sum(ours.token_sizes[i] for i in ids) == len(text.encode()) + blank - lost
    assert all(not ours.token_sizes[ours.special_id(name)] for name in ours.special_tokens)


def test_sizes_of_pieces_of_words_leave_their_marks_out(saved):
    bert = SubwordTokenizer.from_file(saved["BERT"][1])
    ids = bert.encode_ids(["the dog"])[0].tolist()
    assert sum(bert.token_sizes[i] for i in ids) == len("thedog")


def test_another_beginning_leaves_the_tokenizer_as_it_is(saved):
    ours = SubwordTokenizer.from_file(saved["Whisper"][1], start="<|startoftranscript|>")
    german = ours.beginning_with("<|startoftranscript|>", "<|de|>", 7)
    assert german.beginning == (ours.special_id("<|startoftranscript|>"), ours.special_id("<|de|>"), 7)
    assert german.config() == ours.config() | {"start": ["<|startoftranscript|>", "<|de|>", 7]}
    assert ours.beginning == (ours.special_id("<|startoftranscript|>"),)
    with pytest.raises(ValueError, match=r"'<\|fr\|>' is not a special token"):
        ours.beginning_with("<|fr|>")
