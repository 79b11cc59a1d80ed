"""Tiny Shakespeare: one megabyte of plays, the usual small text for language models."""

from collections.abc import Sequence
from functools import cached_property

from omniformer.data.sets.reading import laid_out_or_original, text_in
from omniformer.data.source import Raw, Source, Split

URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
    "data/tinyshakespeare/input.txt"
)
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


class TinyShakespeare(Source):
    """Plays of Shakespeare, 1,115,394 characters in one text (Karpathy 2015), split as usual, by place.

    The first 90 % (1,003,854 characters) train, the last 10 % (111,540) validate; there is no test split, as published
    scores are validation scores. Each split is one document. Read from `tinyshakespeare/input.txt.gz`, or else from the
    publisher's `tinyshakespeare/input.txt`; both give the same samples.

    Args:
        data_root: the folder that holds `tinyshakespeare`; None means the current folder.
        download: fetch the original where no file lies there; off, so that no run reaches out unasked.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ValueError: the file is damaged, not UTF-8, or too short to split; names it.

    Example:
        >>> TinyShakespeare(data_root="data").name
        'TinyShakespeare'
    """

    modalities = ("text",)

    def __init__(self, *, data_root: str | None = None, download: bool = False) -> None:
        self.data_root = data_root
        self.download = download

    def split(self, name: Split) -> Sequence[Raw]:
        """The one document of a split; none for `test`."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        file = laid_out_or_original(
            "tinyshakespeare/input.txt.gz",
            "tinyshakespeare/input.txt",
            data_root=self.data_root,
            url=URL,
            sha256=SHA256,
            download=self.download,
        )
        text = text_in(file)
        cut = int(0.9 * len(text))
        if not cut:
            raise ValueError(f"{file} holds {len(text)} characters; at least 2 are needed for two splits")
        train = Raw(id="tinyshakespeare/train", contents={"text": text[:cut]})
        val = Raw(id="tinyshakespeare/val", contents={"text": text[cut:]})
        return {"train": [train], "val": [val], "test": []}
