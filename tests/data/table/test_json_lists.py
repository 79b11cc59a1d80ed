import gzip
import json

import pytest

from omniformer.data.table.json_lists import ListRows


@pytest.fixture
def written(tmp_path):
    def write(content, name="a.json"):
        text = json.dumps(content).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return tmp_path / name

    return write


def test_entries_are_rows_as_objects_or_as_lists_of_named_cells(written):
    rows = ListRows(written({"train": [["hi", "greet"], ["bye", "part"]]}, "a.json.gz"), "train", ["text", "intent"])
    assert list(rows.each(["text"]))[1] == {"text": "bye", "intent": "part"}
    assert rows.columns == ("text", "intent")
    assert rows.where(1).endswith("a.json.gz, entry 2 of 'train'")
    assert ListRows(written([{"a": 1}, {"b": 2}])).columns == ("a", "b")


@pytest.mark.parametrize(
    ("content", "key", "names", "message"),
    [
        ({"train": []}, "val", None, r"has no list 'val'; it has train; name a list of it behind '::'"),
        ({"train": {}}, "train", None, r"has no list 'train'"),
        ([["a"]], None, None, r"entry 1 is .* expected an object; name the cells of lists with names="),
        ([["a", "b"], ["c"]], None, ["x", "y"], r"entry 2 is .* expected a list of x, y"),
    ],
)
def test_what_is_of_another_form_is_told(written, content, key, names, message):
    with pytest.raises(ValueError, match=message):
        ListRows(written(content), key, names)


def test_what_is_no_json_is_told(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json is not JSON"):
        ListRows(tmp_path / "a.json")
