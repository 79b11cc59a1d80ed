import pytest

from omniformer.data.table.columnar import ArrowRows
from omniformer.data.table.roles import ROLES, Roles, cell, top


def test_columns_are_sorted_by_what_they_are_for_in_their_order():
    columns = {"photo": "vision", "review": "text", "x": "value", "y": "value", "title": "answer.text", "p": "group"}
    roles = Roles.of(columns)
    assert roles.given == {"vision": ("photo",), "text": ("review",)}
    assert roles.answers == {"text": ("title",)}
    assert roles.targets == {"value": ("x", "y")}
    assert roles.one("group") == "p" and roles.one("split") is None
    assert [*roles.names()] == ["photo", "review", "x", "y", "title", "p"]


def test_a_column_may_be_for_two_things():
    roles = Roles.of({"question": "text", "answer": "label and answer.text"})
    assert roles.targets == {"label": ("answer",)} and roles.answers == {"text": ("answer",)}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": "texts"}, r"column 'a' has the role 'texts', which does not exist \(did you mean 'text'\?\); roles are"),
        ({"a": "text and texts"}, "column 'a' has the role 'texts', which does not exist"),
        ({"a": "vision", "b": "vision"}, "columns a, b all have the role 'vision', which only one column may have"),
        ({"a": "label"}, "no column is given to a model"),
        ({"a": "vision", "b": "span"}, "a span stands in a text"),
        ({"t": "text", "a": "span", "b": "span", "c": "span"}, "'span' is for two columns"),
    ],
)
def test_roles_that_mean_nothing_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        Roles.of(columns)


def test_a_role_that_does_not_exist_lists_all_that_do():
    with pytest.raises(ValueError, match="roles are") as caught:
        Roles.of({"a": "nothing like it"})
    assert all(role.split(".")[0] in str(caught.value) for role in ROLES)


def test_a_column_that_is_not_there_lists_those_that_are():
    import pyarrow as pa

    rows = ArrowRows(pa.table({"review": ["a"], "mood": ["b"]}), "reviews.csv")
    with pytest.raises(
        ValueError, match=r"has no column 'reviw' \(did you mean 'review'\?\); its columns are review, mood"
    ):
        Roles.of({"reviw": "text"}).check(rows.columns, rows.file)
    Roles.of({"review": "text", "mood.deep": "label"}).check(rows.columns, rows.file)


@pytest.mark.parametrize("empty", [None, float("nan"), "", "  "])
def test_a_cell_is_empty_where_nothing_stands_in_it(empty):
    assert cell({"a": empty}, "a") is None


def test_nested_cells_are_found_by_a_dot_and_names_with_dots_come_first():
    row = {"answers": {"text": ["Bern"]}, "a.b": 1, "a": {"b": 2}}
    assert cell(row, "answers.text") == ["Bern"]
    assert cell(row, "a.b") == 1
    assert cell(row, "answers.start") is None and cell(row, "nobody.home") is None
    assert top("answers.text", tuple(row)) == "answers" and top("nobody.home", tuple(row)) is None
