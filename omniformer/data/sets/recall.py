"""Copying across a gap: what was read a while ago is to be written again."""

from collections.abc import Sequence
from functools import partial
from string import ascii_lowercase
from typing import Annotated

import torch
from annotated_types import Interval

from omniformer.core.ranges import Count, Natural, Seed
from omniformer.data.random import generator
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import Raw, Source, Split

FILLER = "."


class Recall(Source):
    """Letters, then a gap of dots, then the same letters: the copy task of
    [Hochreiter and Schmidhuber 1997](https://doi.org/10.1162/neco.1997.9.8.1735) in the form of
    [Arjovsky et al. 2015](https://arxiv.org/abs/1511.06464).

    The content is the payload and the gap as one text, the answer is the payload. It measures how far back a model can
    look: whatever it carries from letter to letter must survive the gap. Made in code, from the hash of the seed and
    the sample's id; no file is needed. A guesser that knows the alphabet gets one letter in `letters` right.

    Args:
        payload: letters to be recalled.
        letters: size of the alphabet, which begins at "a".
        gap: dots between payload and answer: exactly so many in validation and test, and in training from none up to
            so many, all equally frequent.
        n_train: number of training samples.
        n_val: number of validation samples.
        n_test: number of test samples.
        seed: another seed draws other samples.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> raw = Recall(payload=4, gap=6).split("test")[0]
        >>> len(raw.contents["text"]), raw.contents["text"] == raw.answer["text"] + "......"
        (10, True)
    """

    modalities = ("text",)

    def __init__(
        self,
        *,
        payload: Count = 8,
        letters: Annotated[int, Interval(ge=2, le=26)] = 8,
        gap: Natural = 64,
        n_train: Natural = 20000,
        n_val: Natural = 200,
        n_test: Natural = 500,
        seed: Seed = 0,
    ) -> None:
        if payload < 1:
            raise ValueError(f"payload={payload} must be 1 or more letters")
        if not 2 <= letters <= len(ascii_lowercase):
            raise ValueError(f"letters={letters} must be from 2 to {len(ascii_lowercase)}, the size of the alphabet")
        for key, value in {"gap": gap, "n_train": n_train, "n_val": n_val, "n_test": n_test}.items():
            if value < 0:
                raise ValueError(f"{key}={value} must be 0 or more")
        self.payload = payload
        self.letters = letters
        self.gap = gap
        self.sizes: dict[Split, int] = {"train": n_train, "val": n_val, "test": n_test}
        self.seed = seed

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split; each is made when it is read."""
        return OnAccess(self.sizes[name], partial(self._sample, name))

    def _sample(self, name: Split, index: int) -> Raw:
        id = f"recall/{name}/{index}"
        chance = generator(self.seed, 0, id, "payload")
        drawn = torch.randint(self.letters, (self.payload,), generator=chance)
        payload = "".join(ascii_lowercase[each] for each in drawn.tolist())
        gap = int(torch.randint(self.gap + 1, (), generator=chance)) if name == "train" else self.gap
        return Raw(id=id, contents={"text": payload + FILLER * gap}, answer={"text": payload})
