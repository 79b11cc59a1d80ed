"""Multi30k: descriptions of pictures in English and German, to be translated."""

from typing import Literal

from omniformer.data.table import Table

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


class Multi30k(Table):
    """Picture descriptions in English and German (Elliott et al. 2016, https://aclanthology.org/W16-3210), untokenised:
    a table over the lines of `multi30k/<split>.<language>.gz`, the publisher's own files, in the official split.

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
        self.languages = (source, target)
        train, val, test = (
            " + ".join(f"lines:multi30k/{stem}.{language}.gz" for language in self.languages)
            for stem in ("train", "val", "test_2016_flickr")
        )
        super().__init__(
            train=train,
            val=val,
            test=test,
            columns={"line": "text", "line 2": "answer.text"},
            ids="multi30k/{split}/{row}",
            fetch={f"multi30k/{file}": f"{URL}{file} {sha256}" for file, sha256 in SHA256.items()},
            data_root=data_root,
            download=download,
        )
