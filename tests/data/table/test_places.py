import os
from pathlib import Path

import pytest

from omniformer.data.remote import Remote
from omniformer.data.table.places import Places


@pytest.fixture
def folders(tmp_path):
    for name in ("table/a.png", "root/b.png", "secret.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_file_is_found_beside_the_table_then_in_the_other_folders(folders):
    places = Places([folders / "root"])
    assert places.find("a.png", folders / "table") == folders / "table" / "a.png"
    assert places.find("b.png", folders / "table") == folders / "root" / "b.png"
    with pytest.raises(ValueError, match=r"there is no file 'c\.png' in .*table, .*root"):
        places.find("c.png", folders / "table")


@pytest.mark.parametrize("name", ["../secret.png", "{root}/secret.png", "link.png", "linked/secret.png"])
def test_a_table_names_no_file_outside_of_its_folders_unless_it_may(folders, name):
    (folders / "table" / "link.png").symlink_to(folders / "secret.png")
    (folders / "table" / "linked").symlink_to(folders)
    name = name.format(root=folders)
    with pytest.raises(ValueError, match="set outside=true where the table is your own"):
        Places([]).find(name, folders / "table")
    assert os.path.samefile(Places([], outside=True).find(name, folders / "table"), folders / "secret.png")


def test_a_folder_that_is_a_link_itself_is_where_it_leads(folders):
    (folders / "here").symlink_to(folders / "table")
    assert Places([]).find("a.png", folders / "here") == folders / "table" / "a.png"


def test_addresses_are_fetched_only_where_that_is_asked_for():
    with pytest.raises(ValueError, match="is not fetched unasked; set download=true"):
        Places([]).find("https://nowhere.invalid/a.png", None)
    assert Places([], download=True).find("https://nowhere.invalid/a.png", None) == Remote(
        "https://nowhere.invalid/a.png"
    )


@pytest.mark.parametrize(
    "name", ["file:///etc/passwd", "local:///etc/passwd", "simplecache::https://a/b", "https://a::file://b"]
)
def test_addresses_of_this_machine_are_no_addresses(name):
    with pytest.raises(ValueError, match="is no address that is fetched|is no path|there is no file"):
        Places([Path()], download=True).find(name, None)
