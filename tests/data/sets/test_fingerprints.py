"""What known sets hold is what it was: ids, splits, contents and targets, as hashes that were written before."""

import importlib.util
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
BEFORE = json.loads((Path(__file__).parent / "fingerprints.json").read_text())
# Bound to the running version of Python or of a library, or so large that a look takes minutes.
LEFT_OUT = {"python_topics", "stdlib_code", "vowels", "cifar10", "mnist", "mnist_words", "easy_vqa"}


def script(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("what", sorted(each for each in BEFORE if each.split()[0] not in LEFT_OUT))
def test_a_set_gives_what_it_gave(shared_data, what):
    name, _, options = what.partition(" ")
    found = script("fingerprint_data").fingerprint(
        script("fingerprint_data").known(name, data_root=str(shared_data), **json.loads(options or "{}"))
    )
    assert found == BEFORE[what]


def test_cards_say_how_many_samples_there_are():
    for card in script("write_data_sets").cards():
        counted = {split: BEFORE[card.names[0]][split]["n"] for split in ("train", "val", "test")}
        said = [cell.replace(",", "") for cell in card.cells[1:4]]
        of_one_graph = set(counted.values()) == {1}  # whose card counts nodes
        if all(cell.isdecimal() for cell in said) and not of_one_graph:
            assert list(counted.values()) == [int(cell) for cell in said], card.names
