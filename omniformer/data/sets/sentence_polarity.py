"""Sentence polarity: sentences of film reviews, for or against."""

from collections.abc import Sequence
from functools import cached_property

import torch

from omniformer.data.download import obtain
from omniformer.data.sets.reading import lines_in, member_in, opened_zip
from omniformer.data.source import SPLITS, Raw, Source, Split

URL = (
    "https://raw.githubusercontent.com/nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/"
    "packages/corpora/sentence_polarity.zip"
)
SHA256 = "6e1ed4405b65c7eabf1d199a7f7c437091ac21da0ea7467b410a74062574566b"
_KINDS = ("neg", "pos")


class SentencePolarity(Source):
    """10,662 lower-cased sentences of film reviews (Pang and Lee 2005, https://aclanthology.org/P05-1015), two classes.

    There is no official split. Here, within each class, line n (from 0) is for the test split where n % 10 is 0, for
    validation where it is 1, and for training otherwise: 8,528 train, 1,066 validation, 1,068 test. Read from
    `sentence_polarity/sentence_polarity.zip`, the package of NLTK, which `download` fetches. Its text is UTF-8, with
    blanks between all words; those around a sentence are left out.

    Args:
        data_root: the folder that holds `sentence_polarity`; None means the current folder.
        download: fetch the missing file; off, so that no run reaches out unasked.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ValueError: the archive is damaged or not the one expected, or a line is empty; names it.

    Example:
        >>> SentencePolarity(data_root="data").labels
        ('negative', 'positive')
    """

    modalities = ("text",)

    def __init__(self, *, data_root: str | None = None, download: bool = False) -> None:
        self.data_root = data_root
        self.download = download

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return ("negative", "positive")

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order: negative ones first."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        file = obtain(
            "sentence_polarity/sentence_polarity.zip",
            data_root=self.data_root,
            url=URL,
            sha256=SHA256,
            download=self.download,
        )
        splits: dict[Split, list[Raw]] = {name: [] for name in SPLITS}
        with opened_zip(file) as archive:
            for label, kind in enumerate(_KINDS):
                member = f"sentence_polarity/rt-polarity.{kind}"
                where = f"{file}: {member!r}"
                target = torch.tensor(label)
                for row, text in enumerate(lines_in(_text(member_in(archive, member), where), where)):
                    name: Split = "test" if row % 10 == 0 else "val" if row % 10 == 1 else "train"
                    id = f"sentence_polarity/{name}/{kind}-{row}"
                    splits[name].append(Raw(id=id, contents={"text": text}, targets={"label": target}))
        return splits


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8 text: {error}") from error
