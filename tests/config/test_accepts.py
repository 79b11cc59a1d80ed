import ast

import pytest

from omniformer.config.accepts import kind

NODE = {"_target_": "torch.nn.Linear"}


def of(text, module="json"):
    return kind(ast.parse(text, mode="eval").body, module)


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [0, -3], [1.0, "1", True, None, [1]]),
        ("float", [0, 1.5, float("inf")], ["1.5", True, None, float("nan")]),
        ("bool", [True, False], [0, 1, "true"]),
        ("str", ["", "a"], [1, None, True]),
        ("int | None", [1, None], ["null", 1.5]),
        ("Optional[int]", [1, None], ["x"]),
        ("Union[int, str]", [1, "a"], [1.5, None]),
        ("'int | str'", [1, "a"], [None]),
        ("Literal['a', 2, True]", ["a", 2, True], ["b", 1, False, "2"]),
        ("list[int]", [[], [1, 2], NODE], [1, [1, "a"], "ab"]),
        ("Sequence[Literal['x']]", [["x"]], [["y"], "x"]),
        ("tuple[int, ...]", [[], [1, 2, 3]], [["a"], 3]),
        ("tuple[int, str]", [[1, "a"]], [[1], ["a", 1], [1, "a", 2]]),
        ("dict[str, float]", [{}, {"a": 1}], [{"a": "b"}, [1], 3]),
        ("dict[str, list[int]]", [{"a": [1]}], [{"a": 1}]),
        ("Callable[[int], int]", [NODE], ["print", 3]),
        ("Path", ["a/b"], [3]),
        ("Any", [1, "a", None, NODE], []),
    ],
)
def test_an_annotation_accepts_its_values_and_no_others(annotation, good, bad):
    asked = of(annotation)
    assert [value for value in good if not asked.accepts(value)] == []
    assert [value for value in bad if asked.accepts(value)] == []


def test_classes_ask_for_parts():
    part = of("JSONDecoder | None")
    assert part.accepts(NODE)
    assert part.accepts(None)
    assert not part.accepts("JSONDecoder")
    assert not part.accepts({"no": "target"})


def test_what_cannot_be_read_accepts_anything():
    assert kind(None, "json").accepts(object())
    assert of("somewhere.Unknown").accepts(3)


def test_aliases_are_followed_to_the_module_that_wrote_them(tmp_path, monkeypatch):
    (tmp_path / "aliases_a.py").write_text(
        "from typing import Union\nSize = Union[int, 'Pair']\nPair = tuple[int, int]\n"
    )
    (tmp_path / "aliases_b.py").write_text("from aliases_a import Size\nLoop = Loop\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    size = of("Size | None", "aliases_b")
    assert size.accepts([1, 2])
    assert not size.accepts("x")
    assert of("Loop", "aliases_b").accepts("anything")


def test_descriptions_name_each_choice_once_and_null_last():
    assert of("None | Literal['a'] | int | float | Literal['a']").words == "'a' or a number or null"
    assert of("list[int] | int").words == "a list of [a whole number] or a whole number"
