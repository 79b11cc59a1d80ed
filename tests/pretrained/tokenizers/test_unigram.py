"""Files of sentencepiece are cut as by the library itself, and framed as by the reference."""

import io
import json

import pytest
from vocabularies import CORPUS, TEXTS

from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.pretrained.tokenizers.unigram import read_pieces

sentencepiece = pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")
ODD = ["\N{LATIN SMALL LIGATURE FI}ne \N{VULGAR FRACTION ONE HALF} e\N{COMBINING ACUTE ACCENT} a\N{NO-BREAK SPACE}cat"]


def trained(**options):
    """A file of sentencepiece with the special pieces of DeBERTa."""
    names = {f"{kind}_piece": f"[{name}]" for kind, name in zip(_KINDS, ("PAD", "CLS", "SEP", "UNK"), strict=True)}
    ids = {f"{kind}_id": i for i, kind in enumerate(_KINDS)}
    written = io.BytesIO()
    given = names | ids | {"model_type": "unigram", "hard_vocab_limit": False, "minloglevel": 2, "vocab_size": 90}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=written, **(given | options))
    return written.getvalue()


_KINDS = ("pad", "bos", "eos", "unk")


def folder_of(file, folder, **settings):
    (folder / "spm.model").write_bytes(file)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"} | settings))
    (folder / "config.json").write_text(json.dumps({"model_type": "deberta-v2"}))
    return text_tokenizer(folder, {"model_type": "deberta-v2", "vocab_size": 100, "type_vocab_size": 0})["text"]


@pytest.mark.parametrize(
    "options",
    [{}, {"normalization_rule_name": "nmt_nfkc_cf"}, {"add_dummy_prefix": False}],
    ids=["as published", "without case", "no blank before"],
)
def test_ids_are_those_of_the_library(options, tmp_path):
    file = trained(**options)
    library, ours = sentencepiece.SentencePieceProcessor(model_proto=file), folder_of(file, tmp_path)
    for text in [*TEXTS, *ODD]:
        assert ours(text).values.tolist() == [1, *library.encode(text), 2], text


def test_texts_are_framed_masked_and_told_apart_as_in_the_reference(tmp_path):
    ours = folder_of(trained(), tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ["the quick fox", "  a  cat\n", "doesn't it?", ""]:
        expected = theirs(text).input_ids
        assert ours(text).values.tolist() == expected
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=True)
    assert ours(("a cat", "the dog")).values.tolist() == theirs("a cat", "the dog").input_ids
    assert ours.special_id("[MASK]") == theirs.mask_token_id
    assert ours.special_tokens == ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")


def test_pieces_have_places_in_the_text(tmp_path):
    ours, text = folder_of(trained(), tmp_path), "the  quick\tfox"
    # The blank before the text stands where its first letter does.
    places = dict.fromkeys(map(tuple, ours.offsets(text).tolist()))
    assert "".join(text[first:last].strip() for first, last in places) == "thequickfox"


def test_damaged_files_are_named(tmp_path):
    file = trained()
    with pytest.raises(ValueError, match=r"spm.model and the files beside it are no vocabulary: .*cut short"):
        folder_of(file[:-40], tmp_path)
    with pytest.raises(ValueError, match="no pieces"):
        read_pieces(b"")
    with pytest.raises(ValueError, match="wire type"):
        read_pieces(b"\x0f")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "bpe"}, "of kind 2; accepted: 1, Unigram"),
        ({"user_defined_symbols": ["brown fox"]}, "1 of its pieces are defined by hand, which is not read"),
        ({"byte_fallback": True, "vocab_size": 350}, "256 of its pieces are bytes, which is not read"),
        ({"remove_extra_whitespaces": False}, "keeps repeated blanks, which is not read; put a tokenizer.json there"),
    ],
)
def test_files_that_would_be_cut_otherwise_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        read_pieces(trained(**options))
