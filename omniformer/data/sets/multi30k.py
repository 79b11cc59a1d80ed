"""Multi30k: descriptions of pictures in English and German, to be translated."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from omniformer.data.download import obtain
from omniformer.data.sets.reading import lines_in, text_in
from omniformer.data.source import SPLITS, Raw, Source, Split

URL = "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
# By file, what it must hash to.
SHA256 = {
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
}
_STEMS: dict[Split, str] = {"train": "train", "val": "val", "test": "test_2016_flickr"}


class Multi30k(Source):
    """Picture descriptions in English and German (Elliott et al. 2016, https://aclanthology.org/W16-3210), untokenised.

    The official split: 29,000 train, 1,014 validation, 1,000 test (`test_2016_flickr`) pairs of sentences. A sample's
    content is the sentence in one language, its answer the one in the other, both without blanks around them. Read
    from `multi30k/<split>.<language>.gz`, the publisher's own files, which `download` fetches.

    Args:
        data_root: the folder that holds `multi30k`; None means the current folder.
        download: fetch missing files; off, so that no run reaches out unasked.
        source: the language that is given.
        target: the language into which it is to be translated.

    Raises:
        FileNotFoundError: a file is missing, and `download` is off.
        ValueError: a language is not known or the two are one, a file is damaged, a line is empty, or the two files of
            a split have different numbers of lines; names the file.

    Example:
        >>> Multi30k(data_root="data", source="de", target="en").languages
        ('de', 'en')
    """

    modalities = ("text",)

    def __init__(
        self,
        *,
        data_root: str | None = None,
        download: bool = False,
        source: Literal["en", "de"] = "en",
        target: Literal["en", "de"] = "de",
    ) -> None:
        if {source, target} != {"en", "de"}:
            raise ValueError(f"source={source!r} and target={target!r}: one must be 'en' and the other 'de'")
        self.data_root = data_root
        self.download = download
        self.languages = (source, target)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        return {name: self._pairs(name) for name in SPLITS}

    def _pairs(self, name: Split) -> list[Raw]:
        given, wanted = (self._sentences(f"{_STEMS[name]}.{language}.gz") for language in self.languages)
        if len(given) != len(wanted):
            raise ValueError(
                f"multi30k/{_STEMS[name]} has {len(given)} lines in {self.languages[0]} and {len(wanted)} in "
                f"{self.languages[1]}; they must pair up, so fetch the files again"
            )
        return [
            Raw(id=f"multi30k/{name}/{row}", contents={"text": given[row]}, answer={"text": wanted[row]})
            for row in range(len(given))
        ]

    def _sentences(self, name: str) -> list[str]:
        file = obtain(
            f"multi30k/{name}",
            data_root=self.data_root,
            url=URL + name,
            sha256=SHA256[name],
            download=self.download,
        )
        return lines_in(text_in(file), str(file))
