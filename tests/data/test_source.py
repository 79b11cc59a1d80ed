import pytest

from omniformer.data.source import existing_file, existing_folder, resolve


def test_relative_paths_count_from_the_data_root(tmp_path):
    assert resolve("a/b", tmp_path) == tmp_path / "a" / "b"


def test_absolute_paths_ignore_the_data_root(tmp_path):
    assert resolve(tmp_path / "a", "/elsewhere") == tmp_path / "a"


def test_a_missing_folder_is_named_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*data_root="):
        existing_folder("nowhere", tmp_path)


def test_a_missing_file_is_named_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.csv.*data_root="):
        existing_file("nowhere.csv", tmp_path)
