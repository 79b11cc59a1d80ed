"""A run's configuration with other data."""

import pytest

from omniformer.config import ConfigError
from omniformer.data.other import with_other_data


def config(**source):
    return {
        "data": {"source": {"columns": {"a": "text"}, "files": "old.csv", **source}, "batch_size": 4},
        "data_root": None,
    }


def test_a_table_takes_the_place_of_the_test_split_and_nothing_else():
    run = config(train="t.csv", files=None, val="v.csv", test="old_test.csv")
    changed = with_other_data(run, "new.jsonl")["data"]
    assert changed["source"] | {"test": "old_test.csv"} == run["data"]["source"]
    assert changed["source"]["test"] == "new.jsonl"
    assert with_other_data(config(), "new.csv")["data"]["source"]["train"] == "old.csv"
    assert run["data"]["source"]["test"] == "old_test.csv"  # the run's own stays


def test_what_divides_the_table_of_the_run_divides_no_other():
    columns = {"a": "text", "part": "split", "b": "label", "c": "split and group"}
    changed = with_other_data(config(columns=columns, folds=5, fold=2), "new.csv")["data"]["source"]
    assert changed["columns"] == {"a": "text", "b": "label", "c": "group"}
    assert (changed["folds"], changed["fold"]) == (None, 0)
    assert "folds" not in with_other_data(config(), "new.csv")["data"]["source"]


def test_a_known_set_is_read_as_the_run_reads_its_own():
    changed = with_other_data(config(), "digits")["data"]
    assert changed["source"]["_target_"] == "omniformer.data.Digits" and changed["batch_size"] == 4


@pytest.mark.parametrize(
    ("run", "data", "told"),
    [
        (config(), "nothing", "received 'nothing', accepted a known data set"),
        ({"data": {"source": {}}, "data_root": None}, "a.csv", "is a table, and the run learned from none"),
        (config(splits={"test": "row < 5"}), "a.csv", "the run's table is divided by conditions on its rows"),
        (config() | {"members": {"a": {}, "b": {}}}, "digits", "learned from a, b; only one set is replaced"),
    ],
)
def test_what_cannot_be_measured_is_refused(run, data, told):
    with pytest.raises(ConfigError, match=told):
        with_other_data(run, data)
