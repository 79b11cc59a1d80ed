import pytest
from omniformer_tokenizers import ByteTokenizer, CharacterTokenizer, SpelledWordTokenizer, WordTokenizer


def test_ids_are_special_then_unknown_then_most_frequent_first():
    tokenizer = CharacterTokenizer(special_tokens=("<|a|>", "<|endoftext|>")).fit(["bbbaac"])
    assert tokenizer("bac?").values.tolist() == [3, 4, 5, 2]
    assert tokenizer.end_of_text == 1
    assert tokenizer.unknown == 2


def test_equally_frequent_symbols_go_by_alphabet_whatever_their_order_of_appearance():
    assert CharacterTokenizer().fit(["ab"]).config() == CharacterTokenizer().fit(["ba"]).config()
    assert CharacterTokenizer().fit(["ba"])("ab").values.tolist() == [2, 3]


def test_a_limit_keeps_the_most_frequent_symbols():
    tokenizer = WordTokenizer(vocab_size=4).fit(["the cat the dog the cat"])
    assert tokenizer.vocab_size == 4
    assert tokenizer.decode(tokenizer("the cat dog")) == "the cat \ufffd"


def test_special_tokens_never_come_from_text_and_are_left_out():
    tokenizer = WordTokenizer().fit(["a <|endoftext|> b"])
    assert tokenizer.end_of_text not in tokenizer("a <|endoftext|> b").values.tolist()
    assert tokenizer.decode([tokenizer.end_of_text, *tokenizer("a b").values.tolist()]) == "a b"


def test_words_and_marks_are_apart_and_case_can_be_ignored():
    assert WordTokenizer().split("It's 3.5, no?") == ["It", "'", "s", "3", ".", "5", ",", "no", "?"]
    assert WordTokenizer(lowercase=True).split("No") == ["no"]


@pytest.mark.parametrize("cls", [CharacterTokenizer, WordTokenizer])
def test_impossible_vocabularies_are_refused(cls):
    with pytest.raises(ValueError, match="no room for symbols; give 3 or more"):
        cls(vocab_size=2)
    with pytest.raises(ValueError, match="names <.unknown.>, which is there already"):
        cls(special_tokens=("<|unknown|>",))


def test_a_damaged_list_of_symbols_is_named(tmp_path):
    CharacterTokenizer().fit(["ab"]).save_pretrained(tmp_path)
    for content, message in (("{", "not valid JSON"), ('{"a": 1}', "not hold a list"), ("[1]", "not hold a list")):
        (tmp_path / "symbols.json").write_text(content)
        with pytest.raises(ValueError, match=rf"symbols\.json.*{message}"):
            CharacterTokenizer.from_pretrained(tmp_path)


def test_characters_tell_the_bytes_they_stand_for():
    tokenizer = CharacterTokenizer().fit(["hé"])
    table = tokenizer.token_bytes
    assert len(table) == tokenizer.vocab_size
    assert b"".join(table[i] for i in tokenizer("éh!").values.tolist()) == "éh".encode()


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("cls", [WordTokenizer, SpelledWordTokenizer])
def test_words_say_where_they_stand_in_the_text_as_it_was_given(cls, lowercase):
    text = (
        "  It's \u0130stanbul,\tna\u00efve \U0001f600 \u03a3\u03a3 "  # in lower case its I is a letter and a dot above
    )
    tokenizer = cls(lowercase=lowercase).fit([text])
    offsets = tokenizer.offsets(text).tolist()
    words = tokenizer.split(text)
    assert len(offsets) == len(words) == len(tokenizer(text))
    for (begin, end), word in zip(offsets, words, strict=True):
        assert word in (text[begin:end].lower() if lowercase else text[begin:end])
    assert [text[a:b] for a, b in offsets][-4:] == [",", "na\u00efve", "\U0001f600", "\u03a3\u03a3"]
    assert tokenizer.offsets(" ").shape == (0, 2)


def test_characters_and_bytes_say_where_they_stand():
    text = "h\u00e9\ud800!"  # a lone surrogate becomes one character of three bytes
    assert CharacterTokenizer().fit([text]).offsets(text).tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    spans = [(0, 1), *[(1, 2)] * 2, *[(2, 3)] * 3, (3, 4)]
    assert [tuple(each) for each in ByteTokenizer().offsets(text).tolist()] == spans
    assert len(spans) == len(ByteTokenizer()(text))
