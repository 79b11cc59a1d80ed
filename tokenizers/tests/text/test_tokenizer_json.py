import json

import pytest
from omniformer_tokenizers import BPETokenizer, SubwordTokenizer, from_gpt2
from omniformer_tokenizers.text.tokenizer_json import character_of_byte

BYTES = {character: byte for byte, character in character_of_byte().items()}


def saved(tmp_path, vocabulary, added=()):
    from tokenizers import AddedToken, Tokenizer, models

    model = Tokenizer(models.BPE(vocabulary, []))
    model.add_tokens([AddedToken(name, normalized=False) for name in added])
    model.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@pytest.mark.parametrize("reader", [BPETokenizer, SubwordTokenizer])
@pytest.mark.parametrize("content", ["not json", '{"version": "1.0"}', "[]"])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, reader, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer\.json"):
        reader.from_file(path)


@pytest.mark.parametrize("reader", [BPETokenizer, SubwordTokenizer])
def test_dropping_merges_at_random_is_refused(tmp_path, reader):
    path = saved(tmp_path, BYTES)
    described = json.loads(path.read_text())
    described["model"]["dropout"] = 0.5
    path.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"tokenizer\.json drops merges at random \(dropout=0\.5\)"):
        reader.from_file(path)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"a": 0}, "no token for 255 of the 256 bytes"),
        (BYTES | {"\u4e2d": 256}, "not byte-level: its token '\u4e2d'"),
        (BYTES | {"aa": 300}, "257 tokens but an id 300"),
    ],
)
def test_a_vocabulary_that_would_lose_text_is_refused_by_those_that_lose_none(tmp_path, vocabulary, message):
    path = saved(tmp_path, vocabulary)
    with pytest.raises(ValueError, match=message):
        BPETokenizer.from_file(path)
    assert SubwordTokenizer.from_file(path).fitted
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ValueError, match=f"vocab.json.*{message}"):
        from_gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt", special_tokens=())


@pytest.mark.parametrize("name", ["\u00e9a", "\t\t", "<x>"])
def test_a_token_that_was_added_by_name_stands_for_its_name(tmp_path, name):
    from tokenizers import decoders

    path = saved(tmp_path, BYTES, added=[name])
    described = json.loads(path.read_text())
    described["decoder"] = json.loads(decoders.ByteLevel().__getstate__())
    path.write_text(json.dumps(described))
    ours = BPETokenizer.from_file(path)
    assert ours.decode(ours(name)) == name
    assert ours.token_bytes[256] == SubwordTokenizer.from_file(path).token_bytes[256] == name.encode()


REPLACED = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaa"}
MARKED = {"special_tokens": {"x": {"id": "x", "ids": [0] * 99, "tokens": ["x"] * 99}}, "pair": []}


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("normalizer", {"type": "Sequence", "normalizers": [REPLACED] * 9}),
        ("normalizer", {"type": "Prepend", "prepend": "a" * 999}),
        ("decoder", {"type": "Sequence", "decoders": [{**REPLACED, "pattern": {"Regex": ""}}] * 9}),
        (
            "post_processor",
            {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 99} | MARKED,
        ),
        (
            "post_processor",
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}]} | MARKED,
        ),
    ],
)
def test_a_file_that_makes_much_of_little_is_refused(tmp_path, stage, step):
    path = saved(tmp_path, BYTES)
    path.write_text(json.dumps(json.loads(path.read_text()) | {stage: step}))
    with pytest.raises(ValueError, match=f"tokenizer.json: its {stage} makes a text up to .* at most 64 are accepted"):
        SubwordTokenizer.from_file(path)


def test_a_file_that_makes_a_little_more_of_a_text_is_read(tmp_path):
    path = saved(tmp_path, BYTES)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": REPLACED | {"content": "b" * 9}}))
    assert len(SubwordTokenizer.from_file(path)("aaa")) == 27
