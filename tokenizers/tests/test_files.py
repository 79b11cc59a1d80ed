import pytest
from omniformer_tokenizers.files import files_below, lines_of, read_text


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"])
def test_only_line_feeds_end_a_line(inside):
    assert lines_of(f"one{inside}still one\r\ntwo\n") == [f"one{inside}still one", "two"]


@pytest.mark.parametrize(("text", "expected"), [("", []), ("\n", [""]), ("a\n\nb", ["a", "", "b"]), ("a\n", ["a"])])
def test_the_last_line_may_have_an_end_or_none(text, expected):
    assert lines_of(text) == expected


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfgood\r\nfilm")
    assert read_text(tmp_path / "a.txt") == "good\nfilm"


def test_what_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfea\x00")
    with pytest.raises(ValueError, match=r"a\.txt cannot be read as UTF-8 text"):
        read_text(tmp_path / "a.txt")


def test_links_are_followed_but_never_in_a_circle(tmp_path):
    for name in ("root/a/1.png", "elsewhere/2.png", "root/.hidden/3.png", "root/a/.4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    assert files_below(tmp_path / "root") == ["a/1.png", "b/2.png"]


def test_files_stand_in_the_order_of_the_names_on_their_paths(tmp_path):
    for name in ("a-b/1.png", "a/2.png", "a.png", "a/1/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path) == ["a/1/3.png", "a/2.png", "a-b/1.png", "a.png"]
