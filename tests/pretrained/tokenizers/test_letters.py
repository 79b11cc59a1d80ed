import json

import pytest
import transformers
from omniformer_tokenizers import SubwordTokenizer

from omniformer.pretrained.tokenizers.letters import spelled

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDE'", "CH"]


def written(folder, letters=LETTERS, **settings):
    path = folder / "vocab.json"
    path.write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    return SubwordTokenizer.from_text(spelled(folder, path, settings), str(path)), path


@pytest.mark.parametrize("text", ["A BAD CAB", "BE'D  CHEE", " A ", "AxB", "CHCACH", ""])
def test_letters_and_texts_equal_the_references(text, tmp_path):
    ours, path = written(tmp_path)
    theirs = transformers.Wav2Vec2CTCTokenizer(path)
    ids = theirs(text).input_ids
    assert ours(text).values.tolist() == ids
    # Repeats are not to be taken together twice.
    assert ours.decode(ids) == theirs.decode(ids, group_tokens=False)


def test_special_tokens_that_a_model_writes_are_part_of_the_text_and_never_read(tmp_path):
    ours, path = written(tmp_path)
    assert ours.decode([5, 3, 1, 4]) == transformers.Wav2Vec2CTCTokenizer(path).decode([5, 3, 1, 4]) == "A<unk><s>"
    assert ours("<s>").values.tolist() == [3, 3, 3]


def test_tokens_that_were_added_later_and_other_marks_between_words(tmp_path):
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<s>": 4, "</s>": 5}))
    ours, _ = written(tmp_path, ["_", "A", "[UNK]", "[PAD]"], word_delimiter_token="_", unk_token="[UNK]")
    assert ours.vocab_size == 6
    assert ours("A A").values.tolist() == [1, 0, 1]
    assert ours.decode([1, 0, 1, 0]) == "A A"


def test_vocabularies_of_another_kind_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"vocab\.json: its tokenizer_config\.json has do_lower_case=True; accepted: False"
    ):
        written(tmp_path, do_lower_case=True)
    (tmp_path / "vocab.json").write_text(json.dumps({"eng": {"a": 0}}))
    with pytest.raises(ValueError, match=r"vocab\.json has no id for 'eng': one vocabulary is read"):
        spelled(tmp_path, tmp_path / "vocab.json", {})
