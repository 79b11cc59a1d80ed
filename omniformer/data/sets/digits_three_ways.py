"""One digit three ways: written by hand, spoken, and as a word."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch

from omniformer.core.ranges import Count
from omniformer.data.by_name import known
from omniformer.data.random import generator
from omniformer.data.sets.fsdd import SAMPLE_RATE, WORDS, SpokenDigits
from omniformer.data.source import Raw, Source, Split

MODALITIES = ("vision", "audio", "text")
TEST_PER_CLIP = 5


class DigitsThreeWays(Source):
    """Pictures of MNIST and recordings of the Free Spoken Digit Dataset, paired by their digit, with its word
    (the idea of AV-MNIST, [Vielzeuf et al. 2018](https://arxiv.org/abs/1808.07275)).

    Every recording of `SpokenDigits` takes part with several pictures of `mnist` of its digit, chosen by the hash of
    its name and none twice for it: `per_clip` in training (2,400 recordings, 12,000 pairs by default), one in
    validation (300), five in test (300 recordings, 1,500 pairs). Both come from the same split of their own set, so
    nothing seen in training is met again. Picture and sound of a pair have nothing in common but the digit.

    The word names the class: for classification leave it out with `present`.

    Args:
        data_root: the folder in which `mnist` and `fsdd` lie; None means the current folder.
        download: fetch what is missing.
        per_clip: pictures for each training recording.
        present: the modalities that a sample keeps; None keeps all three. Their order in a sample is always vision,
            audio, text, and the pairs are the same whichever are kept.

    Raises:
        FileNotFoundError: one of the sets is missing, and `download` is off.
        ValueError: `per_clip` is below 1 or above the number of pictures of a digit, a modality is unknown or there is
            none, or a file of the two sets cannot be read.

    Example:
        >>> DigitsThreeWays(present=["vision", "audio"]).labels[7]
        'seven'
    """

    def __init__(
        self,
        *,
        data_root: str | None = None,
        download: bool = False,
        per_clip: Count = 5,
        present: list[Literal["vision", "audio", "text"]] | None = None,
    ) -> None:
        if per_clip < 1:
            raise ValueError(f"per_clip={per_clip} must be 1 or more pictures for each recording")
        if present is not None and (not present or not set(present) <= set(MODALITIES)):
            raise ValueError(f"present={list(present)} must name one or more of {', '.join(MODALITIES)}")
        self.pictures = known("mnist", data_root=data_root, download=download)
        self.digits = SpokenDigits(data_root=data_root, download=download)
        self.per_clip: dict[Split, int] = {"train": per_clip, "val": 1, "test": TEST_PER_CLIP}
        self.present = tuple(MODALITIES if present is None else present)

    @property
    def labels(self) -> tuple[str, ...]:
        """The digits as words, in the order of the targets."""
        return WORDS

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, ordered by digit, speaker and take."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        return {name: self._pairs(name) for name in ("train", "val", "test")}

    def _pairs(self, name: Split) -> list[Raw]:
        pictures = self.pictures.split(name)
        of_digit: dict[int, list[int]] = defaultdict(list)
        for i, picture in enumerate(pictures):
            of_digit[int(picture.targets["label"])].append(i)
        pairs = []
        for clip in self.digits.recordings(name):
            candidates = of_digit[clip.digit]
            if len(candidates) < self.per_clip[name]:
                raise ValueError(
                    f"{self.pictures.name} has {len(candidates)} pictures of the digit {clip.digit} in {name!r}; "
                    f"{self.per_clip[name]} are asked for each recording"
                )
            order = torch.randperm(len(candidates), generator=generator(0, 0, f"fsdd/{clip.name}", "pictures"))
            for place in order[: self.per_clip[name]].tolist():
                picture = pictures[candidates[place]]
                contents: dict[str, Any] = {
                    "vision": picture.contents["vision"],
                    "audio": (clip.waveform, SAMPLE_RATE),
                    "text": WORDS[clip.digit],
                }
                pairs.append(
                    Raw(
                        id=f"digits_three_ways/{name}/{clip.name}/{picture.id.rsplit('/', 1)[-1]}",
                        contents={key: value for key, value in contents.items() if key in self.present},
                        targets={"label": torch.tensor(clip.digit)},
                    )
                )
        return pairs
