import pytest

from omniformer.data import Recall, known
from omniformer.data.by_name import names


def test_a_set_is_found_by_name_with_what_is_set_of_it():
    source = known("recall", gap=3, n_test=2)
    assert isinstance(source, Recall)
    assert [raw.contents["text"].count(".") for raw in source.split("test")] == [3, 3]
    assert known("esol", data_root="here").opener.data_root == "here"


def test_a_set_that_is_not_there_is_told_with_those_there_are():
    with pytest.raises(ValueError, match="there is no data set 'mnst'; known are atlas, .*mnist"):
        known("mnst")
    assert not {"image_folder", "text_files", "table", "corpus"} & {*names()}
