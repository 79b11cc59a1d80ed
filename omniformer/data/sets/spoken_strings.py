"""Strings of spoken digits, to be written down."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from omniformer.core.ranges import Count, Natural
from omniformer.data.random import generator
from omniformer.data.sets.fsdd import SAMPLE_RATE, WORDS, Recording, SpokenDigits
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import Raw, Source, Split

SHORTEST_PAUSE, LONGEST_PAUSE = 0.03, 0.2  # seconds
HISS = 2**-11  # of full scale, -66 dB: a pause of zeros would be a mark that no recording room leaves


class SpokenStrings(Source):
    """Strings of digits by one speaker, made of real recordings end to end, and the words that were spoken.

    Speaker, length, digits, recordings and pauses are drawn by the hash of the sample's id, so the same strings come
    out on every machine, and a longer split begins with the samples of a shorter one. The recordings are those of
    `SpokenDigits`: strings of each split are made of recordings of that split alone (240, 30 and 30 for each digit; the
    voices are the same six). Pauses of 0.03 to 0.2 s lie between the digits, with a hiss at -66 dB. It is not
    fluent speech: nobody's digits run into each other here. Waveforms are made on access.

    Args:
        data_root: the folder in which `fsdd` lies; None means the current folder.
        download: fetch the recordings where they are missing.
        n_train: number of training strings.
        n_val: number of validation strings.
        n_test: number of test strings.
        shortest: digits in the shortest strings; all lengths are equally frequent.
        longest: digits in the longest strings.

    Raises:
        FileNotFoundError: there are no recordings, and `download` is off.
        ValueError: a number is negative or the lengths do not rise, or a recording cannot be read or is missing.

    Example:
        >>> SpokenStrings(n_train=100, longest=3).longest
        3
    """

    modalities = ("audio", "text")

    def __init__(
        self,
        *,
        data_root: str | None = None,
        download: bool = False,
        n_train: Natural = 4000,
        n_val: Natural = 200,
        n_test: Natural = 400,
        shortest: Count = 2,
        longest: Count = 5,
    ) -> None:
        for name, value in {"n_train": n_train, "n_val": n_val, "n_test": n_test}.items():
            if value < 0:
                raise ValueError(f"{name}={value} must be 0 or more strings")
        if not 1 <= shortest <= longest:
            raise ValueError(f"shortest={shortest} and longest={longest}: need 1 <= shortest <= longest")
        self.digits = SpokenDigits(data_root=data_root, download=download)
        self.sizes: dict[Split, int] = {"train": n_train, "val": n_val, "test": n_test}
        self.shortest = shortest
        self.longest = longest

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order; each is made when it is read."""
        _ = self._takes[name]  # a recording that is missing is told at once
        return OnAccess(self.sizes[name], partial(self._string, name))

    @cached_property
    def _takes(self) -> dict[Split, dict[tuple[str, int], list[Recording]]]:
        """The recordings of each speaker and digit, by split."""
        takes: dict[Split, dict[tuple[str, int], list[Recording]]] = {}
        for name in self.sizes:
            found = defaultdict(list)
            for each in self.digits.recordings(name):
                found[each.speaker, each.digit].append(each)
            for speaker in sorted({speaker for speaker, _ in found}):
                for digit in range(len(WORDS)):
                    if (speaker, digit) not in found:
                        raise ValueError(f"there is no recording of {speaker!r} saying {WORDS[digit]!r} for {name!r}")
            takes[name] = dict(found)
        return takes

    def _string(self, name: Split, index: int) -> Raw:
        id = f"spoken_strings/{name}/{index}"
        chance = generator(0, 0, id, "string")
        takes = self._takes[name]
        speakers = sorted({speaker for speaker, _ in takes})
        speaker = speakers[_draw(len(speakers), chance)]
        n_digits = self.shortest + _draw(self.longest - self.shortest + 1, chance)
        pieces: list[Tensor] = []
        words = []
        for _ in range(n_digits):
            if pieces:
                pieces.append(_pause(chance))
            digit = _draw(len(WORDS), chance)
            choice = takes[speaker, digit]
            pieces.append(choice[_draw(len(choice), chance)].waveform)
            words.append(WORDS[digit])
        return Raw(id=id, contents={"audio": (torch.cat(pieces), SAMPLE_RATE)}, answer={"text": " ".join(words)})


def _draw(n: int, chance: torch.Generator) -> int:
    """A number below n."""
    return int(torch.randint(n, (), generator=chance))


def _pause(chance: torch.Generator) -> Tensor:
    share = float(torch.rand((), generator=chance))
    n = round(SAMPLE_RATE * (SHORTEST_PAUSE + share * (LONGEST_PAUSE - SHORTEST_PAUSE)))
    return HISS * (2 * torch.rand(n, generator=chance) - 1)
