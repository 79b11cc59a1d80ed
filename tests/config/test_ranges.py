import ast

import pytest

from omniformer.config.accepts import kind
from omniformer.config.ranges import FOREIGN, Range, misfit


def of(text):
    return kind(ast.parse(text, mode="eval").body, "omniformer.core.ranges")


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "words"),
    [
        ("Count", [1, 64], [0, -1, 1.5], "a whole number: at least 1"),
        ("BelowOne", [0, 0.0, 0.999], [1, 1.0, -0.1], "a number: at least 0 and below 1"),
        ("Positive | None", [1e-12, 1, None], [0, -1e-3], "a number or null: above 0"),
        ("Seed", [0, 2**32 - 1], [-1, 2**32], "a whole number: at least 0 and at most 4294967295"),
        ("Count | tuple[Count, Count]", [8, [8, 8]], [0, [8, 0], [8]], None),
        ("list[Natural]", [[], [0, 2]], [[-1], 3], "a list of [a whole number]: at least 0"),
        ("dict[str, Positive]", [{"core": 0.1}], [{"core": -1}], "a mapping of names to [a number]: above 0"),
        ("Annotated[int, Ge(2)]", [2], [1], "a whole number: at least 2"),
        ("Annotated[int, Interval(ge=2, le=26)]", [2, 26], [1, 27], "a whole number: at least 2 and at most 26"),
        ("Annotated[int, Gt(0)] | str", [1, "auto"], [0], None),
        ("Count | Literal[-1]", [-1, 1], [0, -2], "a whole number or -1: at least 1"),
        ("Annotated[int, 'words of somebody else']", [-1], ["x"], "a whole number"),
        ("Annotated[int, Ge(2**3)]", [1], ["x"], "a whole number"),  # reading source computes nothing
    ],
)
def test_an_annotation_says_its_range(annotation, good, bad, words):
    asked = of(annotation)
    assert [value for value in good if not asked.accepts(value)] == []
    assert [value for value in bad if asked.accepts(value)] == []
    assert words is None or asked.words == words


def test_a_class_called_as_a_mark_elsewhere_is_none(tmp_path, monkeypatch):
    (tmp_path / "marks_of_mine.py").write_text("class Ge:\n    ...\nMine = Annotated[int, Ge(5)]\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert kind(ast.parse("Mine", mode="eval").body, "marks_of_mine").accepts(1)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("lr", [1e-12, 1], [0, -1e-3]),
        ("max_epochs", [1], [0, -1]),
        ("max_steps", [-1, 1], [0, -2]),
        ("devices", [-1, 1, "auto", [1, 2]], [0, -2, [-5]]),
        ("betas", [[0.9, 0.999]], [[0.9, 1.0], [-0.1, 0.5]]),
        ("limit_train_batches", [0, 5, 0.5, 1.0, None], [-1, 1.5, -0.5]),
        ("unheard_of", [-1e9, "x"], []),
    ],
)
def test_parameters_of_libraries_have_the_range_of_their_name(name, good, bad):
    assert [value for value in good if misfit(name, "torch.optim.adamw", value)] == []
    assert [value for value in bad if not misfit(name, "lightning.pytorch", value)] == []


def test_true_and_false_are_no_numbers():
    assert misfit("overfit_batches", "lightning.pytorch", True) is None


def test_nothing_is_said_of_names_in_packages_of_ones_own():
    assert not any(misfit("lr", module, -1) for module in ["mypackage.nets", "torches.nets", "torchdata", "omniformer"])


def test_every_range_has_words():
    assert all(each.words for each in FOREIGN.values())
    assert Range(least=1, also=(-1,)).words == "at least 1 or -1"
