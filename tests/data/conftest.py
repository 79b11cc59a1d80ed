import os
import signal
import time

import pytest
import torch
from omniformer_tokenizers import Tokenizer, Tokens

from omniformer.data.source import Raw, Source


class Ints(Tokenizer):
    """A list of numbers as tokens; the words in `faults` instead make trouble."""

    modality = "text"

    def __call__(self, raw):
        if raw == "corrupt":
            raise ValueError("damaged header")
        if raw == "stuck":
            time.sleep(60)
        if raw == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return Tokens(values=torch.tensor(raw), positions=torch.zeros(len(raw), 1), modality="text")

    @property
    def facts(self):
        return {"vocab_size": 100}

    def config(self):
        return {}


class Lists(Source):
    """Samples from lists of numbers; the label of a sample is its index."""

    def __init__(self, train, val=(), test=()):
        self.contents = {"train": list(train), "val": list(val), "test": list(test)}

    def split(self, name):
        return [
            Raw(id=f"{name}-{i}", contents={"text": content}, targets={"label": torch.tensor(i)})
            for i, content in enumerate(self.contents[name])
        ]


@pytest.fixture
def ints():
    return Ints()


@pytest.fixture
def lists():
    """Makes a source; a number n stands for n samples of lengths 1, 2, 3, 1, 2, 3, ..."""

    def make(train=0, val=0, test=0):
        splits = (train, val, test)
        return Lists(*([[7] * (1 + i % 3) for i in range(s)] if isinstance(s, int) else s for s in splits))

    return make


def plain(value):
    """A content or target as something that `==` compares."""
    if isinstance(value, torch.Tensor):
        return value.dtype, list(value.shape), value.tolist()
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return [(key, plain(item)) for key, item in value.items()]  # the order of contents counts
    return value


@pytest.fixture
def listed():
    """Everything of all samples of a source, split by split, for comparing two sources."""

    def listed(source):
        return {
            name: [
                (raw.id, plain(raw.contents), plain(raw.answer), plain(raw.targets), plain(raw.token_targets))
                for raw in source.split(name)
            ]
            for name in ("train", "val", "test")
        }

    return listed
