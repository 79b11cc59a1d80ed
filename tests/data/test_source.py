import pytest

from omniformer.data.source import existing_file, existing_folder, own, resolve


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


def test_own_data_are_looked_for_where_one_stands_and_then_under_the_data_root(tmp_path, monkeypatch):
    (tmp_path / "data" / "there").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert existing_folder("here", "data").resolve() == tmp_path / "here"
    assert existing_folder("there", "data").resolve() == tmp_path / "data" / "there"
    assert own("nowhere", "data").as_posix() == "data/nowhere"


def test_own_data_in_both_places_are_taken_from_where_one_stands_and_that_is_said(tmp_path, monkeypatch):
    for name in ("photos", "data/photos"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="'photos' is there twice, here and as 'data/photos'; the one here is taken"):
        assert own("photos", "data").resolve() == tmp_path / "photos"


@pytest.mark.filterwarnings("error")
def test_the_same_place_by_two_names_is_no_question(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert own("photos", ".").resolve() == tmp_path / "photos"
