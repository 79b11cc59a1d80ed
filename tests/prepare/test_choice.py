"""What columns are for: what is plain is chosen, what is not is asked."""

import pytest

from omniformer.prepare.choice import choose
from omniformer.prepare.columns import Column
from omniformer.prepare.guesses import guess

TEXTS = [f"row {i} says that a cat sat here" for i in range(20)]
PHOTOS = [f"{i}.png" for i in range(20)]
MOODS = ["good", "bad"] * 10
NUMBERS = [str(i * 1.5) for i in range(20)]
YES = ["0", "1"] * 10
SAID = [["Ada", f"w{i}"] for i in range(20)]
SENSED = {"words": "text", "load": "series", "mood": "label"}


def chosen(targets=(), given=None, **cells):
    columns = {name: Column(name=name.replace("__", "."), by_row=each) for name, each in cells.items()}
    columns = {column.name: column for column in columns.values()}
    return choose(columns, {name: guess(column) for name, column in columns.items()}, targets=targets, given=given)


@pytest.mark.parametrize(
    ("cells", "columns"),
    [
        ({"review": TEXTS, "mood": MOODS}, {"review": "text", "mood": "label"}),
        ({"photo": PHOTOS, "price": NUMBERS}, {"photo": "vision", "price": "value"}),
        ({"photo": PHOTOS, "a": YES, "b": YES}, {"photo": "vision", "a": "labels", "b": "labels"}),
        ({"photo": PHOTOS, "price": NUMBERS, "label": YES}, {"photo": "vision", "label": "label"}),
        (
            {"words": [["Ada", f"w{i}"] for i in range(20)], "tags": [["P", "O"]] * 10 + [["O", "P"]] * 10},
            {"words": "text", "tags": "token_labels"},
        ),
        ({"words": SAID, "tags": [["P", "O"]] * 20}, {"words": "text", "tags": "token_labels"}),
        ({"words": SAID, "ner_tags": [[1, 0], [0, 1]] * 10}, {"words": "text", "ner_tags": "token_labels"}),
        ({"words": SAID, "load": [[1.5, 0.5], [0.5, 2.5]] * 10, "mood": MOODS}, SENSED),
        ({"photo": PHOTOS, "caption": TEXTS}, {"photo": "vision", "caption": "text"}),
        (
            {"id": PHOTOS, "review": TEXTS, "mood": MOODS, "split": ["train", "test"] * 10},
            {"review": "text", "mood": "label", "split": "split", "id": "id"},
        ),
    ],
)
def test_what_is_plain_is_chosen(cells, columns):
    assert chosen(**cells).columns == columns


def test_texts_to_be_written_and_places_in_texts_are_told_by_the_target():
    assert chosen(["caption"], photo=PHOTOS, caption=TEXTS).columns == {"photo": "vision", "caption": "answer.text"}
    found = chosen(
        ["answer"], context=TEXTS, question=[f"who sat in {i}?" for i in range(20)], answer=["a cat"] * 19 + ["cat"]
    )
    assert list(found.columns.items()) == [("question", "text"), ("context", "text"), ("answer", "span.text")]
    assert found.join == " | "
    nested = chosen(
        ["answers.text"], context=TEXTS, answers__text=[["a cat"]] * 19 + [["cat"]], answers__start=[[16]] * 20
    )
    assert nested.columns == {"context": "text", "answers.start": "span", "answers.text": "span.text"}


def test_a_class_that_its_text_names_is_a_class_all_the_same():
    texts = [f"film {i} is {mood}, very {mood}" for i, mood in enumerate(MOODS)]
    assert chosen(["mood"], review=texts, mood=MOODS).columns == {"review": "text", "mood": "label"}


def test_what_could_be_two_things_is_asked_with_the_words_to_type():
    asked = "2 columns could be what is to be predicted: price, mood; name one with --target"
    with pytest.raises(ValueError, match=asked):
        chosen(photo=PHOTOS, price=NUMBERS, mood=YES)


def test_of_several_columns_of_classes_of_words_one_is_asked_for_and_the_others_are_not_given():
    cells = {"words": SAID, "pos_tags": [[2, 0], [0, 1]] * 10, "ner_tags": [[1, 0], [0, 1]] * 10}
    with pytest.raises(ValueError, match="2 columns could be what is to be predicted: pos_tags, ner_tags; name one"):
        chosen(**cells)
    found = chosen(["ner_tags"], **cells)
    assert found.columns == {"words": "text", "ner_tags": "token_labels"}
    assert found.left_out == {"pos_tags": "it gives each word a class"}


def test_a_role_that_is_given_counts_and_null_leaves_out():
    found = chosen(given={"mood": None, "review": "text", "price": "value"}, review=TEXTS, mood=MOODS, price=NUMBERS)
    assert found.columns == {"review": "text", "price": "value"}
    assert found.left_out == {"mood": "left out as you say"}


def test_every_column_that_is_left_out_has_a_reason():
    found = chosen(["mood"], review=TEXTS, mood=MOODS, price=NUMBERS, same=["x"] * 20)
    assert found.left_out.keys() == {"price", "same"}
    assert all(found.left_out.values())


def test_a_column_that_is_not_there_and_a_table_without_contents_are_told():
    with pytest.raises(ValueError, match="there is no column 'moood'; columns are review, mood"):
        chosen(["moood"], review=TEXTS, mood=MOODS)
    with pytest.raises(ValueError, match="no column holds what a model could be given"):
        chosen(["mood"], mood=MOODS, price=NUMBERS)


def test_dates_and_numbers_with_a_comma_are_no_texts_to_be_given_or_written():
    cells = {"review": TEXTS, "day": [f"2024-03-{i + 1:02}" for i in range(20)], "price": [f"{i},5" for i in range(20)]}
    with pytest.raises(ValueError, match=r"price holds numbers with a decimal comma; write them with a point"):
        chosen(["price"], **cells)
    assert chosen(["mood"], mood=MOODS, **cells).columns == {"mood": "label", "review": "text"}


def test_a_target_that_is_always_the_same_is_refused():
    with pytest.raises(ValueError, match="all cells of mood are the same, of which nothing can be learned"):
        chosen(["mood"], review=TEXTS, mood=["good"] * 20)
