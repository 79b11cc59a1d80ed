import io
import pickle
import tarfile

import pytest

from omniformer.data.table.shards import ShardRows


def shard(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_files_whose_names_begin_alike_are_a_row(tmp_path):
    files = [
        ("d/1.jpg", b"one"),
        ("d/1.txt", b"A cat\n"),
        ("d/2.jpg", b"two"),
        ("d/2.json", b'{"n": 2}'),
        ("d/.x", b""),
    ]
    table = ShardRows(shard(tmp_path / "a.tar", files))
    assert len(table) == 2 and table.columns == ("__key__", "jpg", "txt", "json")
    assert table.row(0) == {"__key__": "d/1", "jpg": b"one", "txt": "A cat"}
    assert table.row(1) == {"__key__": "d/2", "jpg": b"two", "json": {"n": 2}}
    assert [*table.each(["txt"])] == [{"__key__": "d/1", "txt": "A cat"}, {"__key__": "d/2"}]
    assert table.heavy() == {"jpg"} and table.place(1) == "d/2"
    assert pickle.loads(pickle.dumps(table)).row(0)["jpg"] == b"one"


def test_nothing_is_unpacked_and_names_lead_nowhere(tmp_path):
    table = ShardRows(shard(tmp_path / "a.tar", [("../../evil.txt", b"hello"), ("/abs.txt", b"there")]))
    assert [table.row(i)["txt"] for i in range(2)] == ["hello", "there"]
    assert [path.name for path in tmp_path.rglob("*")] == ["a.tar"]


@pytest.mark.parametrize(
    ("files", "mode", "message"),
    [([("a.txt", b""), ("a.txt", b"")], "w", "holds 'a.txt' twice"), ([("a.txt", b"x")], "w:gz", "not compressed")],
)
def test_archives_that_cannot_be_read_in_place_are_refused(tmp_path, files, mode, message):
    with pytest.raises(ValueError, match=rf"a\.tar cannot be read.*{message}"):
        ShardRows(shard(tmp_path / "a.tar", files, mode))


def test_a_file_that_is_not_what_its_name_says_is_a_bad_row(tmp_path):
    table = ShardRows(shard(tmp_path / "a.tar", [("1.json", b"{"), ("2.json", b"{}")]))
    bad, good = table.each(["json"])
    assert r"a.tar, 1.json: cannot be read" in str(bad) and good == {"__key__": "2", "json": {}}


def test_a_file_that_says_it_is_larger_than_its_archive_is_refused(tmp_path):
    sparse = tarfile.TarInfo("a.jpg")
    sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\x0000000001000\x00"  # where its one piece lies, and how long it is
    header[483:495] = b"\x80" + (10 << 40).to_bytes(11, "big")  # of how many bytes it says it is one
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + b"x" * 512 + b"\0" * 1024)
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getmembers()[0].size == 10 << 40
    with pytest.raises(
        ValueError, match=r"a\.tar .*'a\.jpg' says that it has 10995116277760 bytes, which do not lie in it"
    ):
        ShardRows(tmp_path / "a.tar")
