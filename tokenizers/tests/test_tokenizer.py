import json

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, ColourTokenizer, PatchTokenizer, Tokenizer, Tokens, load


class Plain(Tokenizer):
    """The least that a tokenizer needs."""

    modality = "text"

    @property
    def facts(self):
        return {"axes": 1}

    def __call__(self, raw):
        return Tokens(values=torch.zeros(raw, dtype=torch.int64), positions=torch.zeros(raw, 1), modality="text")

    def config(self):
        return {}


class Ids(Plain):
    """Begins with 8 and stops with 9."""

    start, stop = 8, 9


def test_what_a_model_writes_lies_between_start_and_stop():
    tokenizer, nothing = Ids(), Plain()
    assert tokenizer.begun(tokenizer(2)).values.tolist() == [8, 0, 0]
    assert tokenizer.answer(tokenizer(2)).values.tolist() == [8, 0, 0, 9]
    assert (tokenizer.beginning, tokenizer.stops) == ((8,), (9,))
    assert (nothing.beginning, nothing.stops) == ((), ())
    assert nothing.answer(nothing(2)).values.tolist() == [0, 0]


def test_a_tokenizer_with_nothing_to_learn_is_ready_and_reads_nothing():
    tokenizer = Plain()

    def unread():
        raise AssertionError("the samples were read")
        yield

    assert tokenizer.fitted
    assert tokenizer.fit(unread()) is tokenizer
    assert [len(tokens) for tokens in tokenizer.encode_batch(iter([2, 0]))] == [2, 0]


def test_a_tokenizer_without_inverse_says_so():
    with pytest.raises(TypeError, match="Plain has no inverse"):
        Plain().decode(Plain()(1))


def test_an_empty_folder_holds_no_tokenizer(tmp_path):
    for read in (load, PatchTokenizer.from_pretrained):
        with pytest.raises(FileNotFoundError, match=r"holds no saved tokenizer: tokenizer_config\.json is missing"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "does not name its tokenizer"),
        ("{}", "does not name its tokenizer"),
        ('{"tokenizer": 3}', "was saved by 3"),
        ('{"tokenizer": ["PatchTokenizer"]}', "was saved by"),
        ('{"tokenizer": "PatchTokenizer", "patch": 3}', r"tokenizer_config\.json does not describe a PatchTokenizer"),
        ('{"tokenizer": "PatchTokenizer", "patch_size": 0}', "patch_size=0 is too small"),
        ('{"tokenizer": "PatchTokenizer", "patch_size": "x"}', "does not describe a PatchTokenizer"),
    ],
)
def test_a_damaged_description_is_named(tmp_path, content, message):
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_a_missing_vocabulary_is_named(tmp_path):
    BPETokenizer(vocab_size=260).fit(["a"]).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_palette_is_named(tmp_path, content):
    ColourTokenizer(n_colours=2, channels=1).fit([torch.zeros(1, 2, 2)]).save_pretrained(tmp_path)
    (tmp_path / "codebook.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"codebook\.safetensors does not hold colours"):
        load(tmp_path)


def test_a_palette_of_another_size_is_refused(tmp_path):
    ColourTokenizer(n_colours=2, channels=1).fit([torch.zeros(1, 2, 2)]).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"n_colours": 3}))
    with pytest.raises(ValueError, match="expected the 3 colours"):
        load(tmp_path)
