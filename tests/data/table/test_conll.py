import pytest

from omniformer.data.table import Table
from omniformer.data.table.conll import ConllRows
from omniformer.data.table.rows import BadRowError

TEXT = "-DOCSTART- -X- O\n\nAda NNP B-PER\nslept VBD O\n\n\nin IN O\nRome NNP B-LOC\n"


def rows(tmp_path, text, name="a.conll", **options):
    (tmp_path / name).write_text(text)
    return ConllRows(tmp_path / name, **options)


@pytest.mark.parametrize("between", [" ", "\t", "   "], ids=repr)
def test_a_sentence_is_a_row_and_documents_are_none(tmp_path, between):
    found = rows(tmp_path, TEXT.replace(" ", between))
    assert [found.row(i) for i in range(len(found))] == [
        {"words": ["Ada", "slept"], "column 2": ["NNP", "VBD"], "tags": ["B-PER", "O"]},
        {"words": ["in", "Rome"], "column 2": ["IN", "NNP"], "tags": ["O", "B-LOC"]},
    ]
    assert [found.place(i) for i in range(2)] == ["line 3", "line 7"]


def test_words_may_hold_blanks_where_tabs_stand_between_columns(tmp_path):
    assert rows(tmp_path, "New York\tB-LOC\r\n").row(0) == {"words": ["New York"], "tags": ["B-LOC"]}


def test_columns_have_the_names_that_are_given(tmp_path):
    assert rows(tmp_path, TEXT, names=["word", "part", "entity"]).columns == ("word", "part", "entity")


def test_a_line_of_another_length_is_told_and_the_rest_is_read(tmp_path):
    found = rows(tmp_path, TEXT.replace("slept VBD O", "slept O"))
    first, second = found.each(found.columns)
    assert isinstance(first, BadRowError)
    assert str(first).endswith("a.conll, line 4: 2 columns for 3, words, column 2, tags")
    assert second == found.row(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no sentence"),
        ("\n-DOCSTART- O\n\n", "holds no sentence"),
        ("word\n", "its first word has 1 columns, expected 2"),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"a\.conll.*{message}"):
        rows(tmp_path, text)


def test_it_is_a_table_by_its_suffix_or_by_name(tmp_path):
    for name, file in (("a.conll", "a.conll"), ("a.annotated", "conll:a.annotated")):
        (tmp_path / name).write_text(TEXT)
        table = Table(
            files=file, columns={"words": "text", "tags": "token_labels"}, shares=(1, 0, 0), data_root=str(tmp_path)
        )
        first = table.split("train")[0]
        assert (first.contents["text"], first.marks["text"].words) == ("Ada slept", ((0, 3, 1), (4, 9, 2)))
        assert table.labels == ("B-LOC", "B-PER", "O")
