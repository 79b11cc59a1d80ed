"""The page of data sets is what the cards in conf/data say, and a card of another form is told."""

import importlib.util
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("write_data_sets", SCRIPTS / "write_data_sets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_cards_say(writer):
    assert writer.page() == writer.PAGE.read_text(encoding="utf-8"), "run scripts/write_data_sets.py"


def test_a_card_gives_its_heading_line_and_text(writer, tmp_path):
    line = "Text | text | 1 | 2 | 3 | much | guess: 10 %"
    card = f"_target_: x\n\n# Card of a, b: one, and the other\n# {line}\n#\n# One.\n#\n# Two.\n"
    (tmp_path / "a.yaml").write_text(card)
    found = writer.card_of(tmp_path / "a.yaml")
    assert found.heading == "`data=a`, `data=b`: one, and the other"
    assert found.row == "| [`a`](#dataa-datab-one-and-the-other) | text | 1 | 2 | 3 | much | guess: 10 % |"
    assert found.text == "One.\n\nTwo."
    (tmp_path / "a.yaml").write_text(card.replace("Text |", "Smells |"))
    with pytest.raises(ValueError, match=r"a\.yaml: the second line of its card is 'Smells"):
        writer.card_of(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("_target_: x\n")
    assert writer.card_of(tmp_path / "a.yaml") is None
