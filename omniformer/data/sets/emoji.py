"""Emoji: pictures with their names and keywords."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch

from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.reading import check_pictures, text_in
from omniformer.data.source import SPLITS, Raw, Source, Split, existing_file

# What each line of the captions must hold, and its type.
_FIELDS = {
    "code": str,
    "name": str,
    "skin_tone": bool,
    "group": str,
    "aliases": list,
    "tags": list,
    "split": str,
}


class Emoji(Source):
    """3,290 Twemoji pictures of 64 x 64 pixels with Unicode names, keywords and groups.

    Split by the hash of the name without skin tone, so that the variants of an emoji stay together: 2,659 train, 275
    validation, 356 test; 1,431, 173 and 191 without skin tones. A sample is the picture and then the text; the group
    is its class. For matching pictures with names, and for classification.

    Read from `emoji/twemoji_64.npz` and `emoji/captions.jsonl.gz`. There is no original to fetch: these were made from
    the files of two publishers (pictures of Twemoji, put on white and resized; names of Unicode and gemoji).

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
        'Emoji'
    """

    modalities = ("vision", "text")

    def __init__(
        self,
        *,
        data_root: str | None = None,
        skin_tones: bool = True,
        text: Literal["name", "keywords"] = "name",
    ) -> None:
        if text not in ("name", "keywords"):
            raise ValueError(f"text={text!r} is not known; choose 'name' or 'keywords'")
        self.data_root = data_root
        self.skin_tones = skin_tones
        self.text = text

    @property
    def labels(self) -> tuple[str, ...]:
        """The groups, sorted, in the order of the targets; the same with and without skin tones."""
        return tuple(sorted({row["group"] for row in self._captions}))

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    @cached_property
    def _captions(self) -> list[dict[str, Any]]:
        file = existing_file("emoji/captions.jsonl.gz", self.data_root)
        lines = text_in(file).removesuffix("\n").split("\n")
        return [_caption(line, f"{file}, line {number}") for number, line in enumerate(lines, start=1)]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        file = existing_file("emoji/twemoji_64.npz", self.data_root)
        pixels = read_arrays(file, ["images"])["images"]
        check_pictures(pixels, (64, 64, 3), f"{file}, array 'images'")
        if len(pixels) != len(self._captions):
            raise ValueError(f"{file} has {len(pixels)} pictures for {len(self._captions)} captions; need one for each")
        pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        number = {label: torch.tensor(i) for i, label in enumerate(self.labels)}
        splits: dict[Split, list[Raw]] = {name: [] for name in SPLITS}
        for picture, row in zip(pictures, self._captions, strict=True):
            if self.skin_tones or not row["skin_tone"]:
                text = row["name"] if self.text == "name" else keywords(row)
                splits[row["split"]].append(
                    Raw(
                        id=f"emoji/{row['split']}/{row['code']}",
                        contents={"vision": picture, "text": text},
                        targets={"label": number[row["group"]]},
                    )
                )
        return splits


def keywords(caption: Mapping[str, Any]) -> str:
    """The name of an emoji, its short codes as words and its tags, each once, separated by commas.

    Example:
        >>> keywords({"name": "woman running", "aliases": ["running_woman"], "tags": ["exercise", "woman running"]})
        'woman running, running woman, exercise'
    """
    words = [caption["name"], *(alias.replace("_", " ") for alias in caption["aliases"]), *caption["tags"]]
    return ", ".join(dict.fromkeys(words))


def _caption(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error}") from error
    for field, kind in _FIELDS.items():
        value = row.get(field) if isinstance(row, dict) else None
        if not isinstance(value, kind) or value == "":
            raise ValueError(f"{where}: {field!r} is {value!r}; expected a {kind.__name__} that is not empty")
    if not all(isinstance(word, str) for word in (*row["aliases"], *row["tags"])):
        raise ValueError(f"{where}: aliases and tags are {row['aliases']} and {row['tags']}; expected words")
    if row["split"] not in SPLITS:
        raise ValueError(f"{where}: the split is {row['split']!r}; expected one of {', '.join(SPLITS)}")
    return row
