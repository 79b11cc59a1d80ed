"""Emoji: pictures with their names and keywords."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from omniformer.data.table import Table
from omniformer.data.table.beside import Beside, Computed
from omniformer.data.table.rows import Rows

# Words of a gender in names, and what others have in the place of such a word.
_GENDERS = ("man", "woman", "person", "men", "women", "people", "boy", "girl", "child", "santa", "mrs", "mx")
_ALIKE: dict[str, str] = {"merman": "merperson", "mermaid": "merperson", "princess": "prince", "older": "old"}


class Emoji(Table):
    """Twemoji pictures of 64 x 64 pixels with Unicode names, keywords and groups: a table of `emoji/captions.jsonl.gz`
    beside `emoji/twemoji_64.npz`.

    A sample is the picture and then the text; the group is its class. For matching pictures with names, and for
    classification. Emoji whose names differ by skin tone or gender alone are in one split: that of the first of
    them, by the hash of its name without skin tone. There is no original to fetch: the files were made from those
    of two publishers (pictures of Twemoji, put on white and resized; names of Unicode and gemoji).

    Args:
        data_root: the folder that holds `emoji`; None means the current folder.
        skin_tones: whether the 1,495 variants in other skin tones take part; they make people most of the set.
        text: the text of a sample: its `name`, which no other has, or `keywords`: the name, short codes and tags.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: `text` is not known, a file is damaged, a line lacks a field, or there is not one picture for each
            line; names file and line.

    Example:
        >>> Emoji(data_root="data", skin_tones=False, text="keywords").name
        'emoji'
    """

    def __init__(
        self,
        *,
        data_root: str | None = None,
        skin_tones: bool = True,
        text: Literal["name", "keywords"] = "name",
    ) -> None:
        if text not in ("name", "keywords"):
            raise ValueError(f"text={text!r} is not known; choose 'name' or 'keywords'")
        super().__init__(
            files="emoji/captions.jsonl.gz + emoji/twemoji_64.npz",
            columns={"images": "vision", text: "text", "group": "label", "anybody": "group"},
            splits={
                **({} if skin_tones else {"out": "skin_tone == true"}),
                "test": "split == test",
                "val": "split == val",
            },
            together=True,
            ids="emoji/{split}/{code}",
            data_root=data_root,
        )

    def completed(self, rows: Rows) -> Rows:
        """The rows with their keywords, and with the name that all genders and skin tones share."""
        made = Computed(rows, {"keywords": keywords, "anybody": anybody}, of=["name", "base", "aliases", "tags"])
        return Beside([rows, made])


def keywords(caption: Mapping[str, Any]) -> str:
    """The name of an emoji, its short codes as words and its tags, each once, separated by commas.

    Example:
        >>> keywords({"name": "woman running", "aliases": ["running_woman"], "tags": ["exercise", "woman running"]})
        'woman running, running woman, exercise'
    """
    words = [caption["name"], *(alias.replace("_", " ") for alias in caption["aliases"]), *caption["tags"]]
    return ", ".join(dict.fromkeys(words))


def anybody(caption: Mapping[str, Any]) -> str:
    """The name of an emoji whoever it shows: without skin tone (`base`) and gender.

    Example:
        >>> anybody({"base": "woman artist"}), anybody({"base": "artist"}), anybody({"base": "Mermaid"})
        ('artist', 'artist', 'merperson')
    """
    words = [str(word) for word in re.findall(r"\w+", caption["base"].lower())]
    return " ".join(_ALIKE.get(word, word) for word in words if word not in _GENDERS) or "person"
