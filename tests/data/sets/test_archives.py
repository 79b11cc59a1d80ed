import zipfile

import pytest

from omniformer.data.sets.archives import members


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("b/two.wav", "a/one.wav", "a/readme.txt"):
            file.writestr(name, name * 50)
    return tmp_path / "a.zip"


def test_files_of_one_ending_come_sorted_by_name(archive):
    assert list(members(archive, ".wav")) == ["a/one.wav", "b/two.wav"]
    assert members(archive, ".txt") == {"a/readme.txt": b"a/readme.txt" * 50}


def test_a_damaged_file_is_told_by_name(archive):
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"b/two.wavb/two", b"b/two.wavX/two"))
    with pytest.raises(ValueError, match=r"a\.zip cannot be read at 'b/two\.wav'"):
        members(archive, ".wav")


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"a\.zip cannot be read: .*fetch the archive anew"):
        members(tmp_path / "a.zip", ".wav")
