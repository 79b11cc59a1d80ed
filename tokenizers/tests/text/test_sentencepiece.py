"""Files of sentencepiece give the ids and texts of the reference library."""

import json
import pickle

import omniformer_tokenizers as ot
import pytest
import vocabularies
from omniformer_tokenizers import SentencePieceTokenizer

TEXTS = vocabularies.TEXTS


def check(ours, theirs, texts=TEXTS):
    for text in texts:
        expected = theirs(text).input_ids
        assert ours(text).values.tolist() == expected
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=True)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return vocabularies.t5_pieces(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    return vocabularies.marian_pieces(tmp_path_factory.mktemp("marian"))


def test_t5_equals_the_reference(t5):
    theirs = vocabularies.transformers.T5Tokenizer.from_pretrained(t5.parent)
    ours = SentencePieceTokenizer.from_file(t5, back=["</s>"], extra=100)
    check(ours, theirs)
    assert ours.vocab_size == len(theirs)
    for i in (0, 99):
        name = f"<extra_id_{i}>"
        assert ours.special_id(name) == theirs.convert_tokens_to_ids(name)
    pair = theirs("a cat", "the dog").input_ids
    assert ours(("a cat", "the dog")).values.tolist() == pair


def test_llama_equals_the_library_and_the_reference(tmp_path):
    """They differ where a text begins with a blank, which the reference joins with its own."""
    path = vocabularies.llama_pieces(tmp_path)
    theirs = vocabularies.transformers.LlamaTokenizer.from_pretrained(tmp_path, add_bos_token=True)
    ours = SentencePieceTokenizer.from_file(path, front=["<s>"], start="<s>", stop="</s>")
    check(ours, theirs, [text for text in TEXTS if not text.startswith(" ")])
    library = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_file=str(path))
    for text in TEXTS:
        assert ours(text).values.tolist() == [1, *library.encode(text)]
    assert ours.answer(ours("a cat")).values.tolist() == [*ours("a cat").values.tolist(), 2]


@pytest.mark.filterwarnings("ignore:Recommended")
def test_marian_equals_the_reference_in_both_directions(marian):
    theirs = vocabularies.transformers.MarianTokenizer.from_pretrained(marian)
    texts = [*TEXTS, ">>fra<< the cat", ">>unknown<< a"]
    source = SentencePieceTokenizer.from_file(marian / "source.spm", ids=marian / "vocab.json", back=["</s>"])
    check(source, theirs, texts)
    target = SentencePieceTokenizer.from_file(marian / "target.spm", ids=marian / "vocab.json", back=["</s>"])
    for text in texts:
        expected = theirs(text_target=text).input_ids
        assert target(text).values.tolist() == expected
        assert target.decode(expected) == theirs.decode(expected, skip_special_tokens=True)
    assert source.vocab_size == target.vocab_size == len(theirs)


def test_text_that_spells_a_special_token_stays_text(t5):
    ours = SentencePieceTokenizer.from_file(t5, extra=3)
    special = {ours.special_id(name) for name in ours.special_tokens} - {ours.special_id("<unk>")}
    assert special
    assert not special & set(ours("a</s><pad><extra_id_0> b").values.tolist())


@pytest.mark.parametrize("kind", ["t5", "marian"])
def test_a_folder_and_a_pickle_bring_the_tokenizer_back(kind, t5, marian, tmp_path):
    if kind == "t5":
        ours = SentencePieceTokenizer.from_file(t5, back=["</s>"], extra=4, start="<pad>", stop="</s>", segments=True)
    else:
        options = {"back": ["</s>"], "start": "<pad>", "stop": "</s>"}
        ours = SentencePieceTokenizer.from_file(marian / "source.spm", ids=marian / "vocab.json", **options)
    ours.save_pretrained(tmp_path)
    for again in (ot.load(tmp_path), pickle.loads(pickle.dumps(ours))):
        assert (again.config(), again.digest, again.facts) == (ours.config(), ours.digest, ours.facts)
        assert (again.start, again.stop) == (ours.start, ours.stop)
        assert again("the cat").values.tolist() == ours("the cat").values.tolist()


def test_a_damaged_file_is_named(t5, tmp_path):
    path = tmp_path / "spiece.model"
    for content in (b"", b"abc", t5.read_bytes()[:-30], bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"spiece\.model"):
            SentencePieceTokenizer.from_file(path)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"<unk>": -1}', '{"<unk>": "x"}'])
def test_a_damaged_list_of_ids_is_named(marian, tmp_path, content):
    path = tmp_path / "vocab.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"vocab\.json"):
        SentencePieceTokenizer.from_file(marian / "source.spm", ids=path)


def test_a_name_that_the_file_lacks_is_told(t5):
    with pytest.raises(ValueError, match=r"spiece\.model: '<s>' is not a special token"):
        SentencePieceTokenizer.from_file(t5, front=["<s>"])


def test_offsets_are_refused(t5):
    with pytest.raises(TypeError, match="tells no offsets"):
        SentencePieceTokenizer.from_file(t5).offsets("a")


def test_saved_ids_are_plain_json(marian, tmp_path):
    ours = SentencePieceTokenizer.from_file(marian / "source.spm", ids=marian / "vocab.json")
    ours.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "vocab.json").read_text()) == json.loads((marian / "vocab.json").read_text())
