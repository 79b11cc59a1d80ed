"""What a data set is: raw samples in three splits, and what is known about all of them."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omniformer_tokenizers import Tokenizer
from torch import Tensor

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What to predict of stretches of a text, in characters; it becomes targets once the tokens are known.

    Of a pair of texts they stand in the second one.

    Args:
        span: from which to before which character the answer stands, (-1, -1) where there is none: the target `span`.
            None for texts that are not asked for one.
        words: begin, end and class of each word, -1 for one without a class: the token target `label` of the first
            token of each word. None for texts whose words have no classes.

    Example:
        >>> Marks(span=(2, 5)).words is None
        True
    """

    span: tuple[int, int] | None = None
    words: tuple[tuple[int, int, int], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raw:
    """One sample before tokenizing: its contents by modality, and what to predict of it.

    Args:
        id: names the sample in messages and keys its randomness; unique and stable within the source.
        contents: what the tokenizer of each modality takes: a string, an image, a waveform, a graph, a path to one.
            Their order is the order of the pieces in the sequence; a modality that is missing is left out.
        answer: what a model is to write of its own, given the contents, by modality in the same way: the translation,
            the caption, the words that were spoken. Empty where there is nothing to write.
        targets: what to predict of the sample as a whole: `label` int64 `[]`, `labels` float32 `[n_labels]`, `value`
            float32.
        token_targets: what to predict of each token: `label` int64 `[tokens]`, and `mask` bool `[tokens]`, True where
            the token counts in this split.
        marks: by the modality of a text, what to predict of stretches of it.
    """

    id: str
    contents: Mapping[str, Any]
    answer: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    token_targets: Mapping[str, Tensor] = field(default_factory=dict)
    marks: Mapping[str, Marks] = field(default_factory=dict)


# What a set of graphs may say of its nodes and of its edges; a tokenizer that was told nothing of either is told this.
GRAPH_FACTS = (("node_vocab_sizes", "node_features"), ("edge_vocab_sizes", "edge_features"))


class Source(ABC):
    """A data set: raw samples in the splits `train`, `val` and `test`.

    A subclass says what it holds; how samples are tokenized, batched, mixed and sharded is no concern of it. The same
    constructor arguments give the same samples, ids and splits on every machine, wherever the data lie there.
    """

    modalities: tuple[str, ...] = ()  # of contents and answers, where they are known before a sample is read
    on_error: Literal["raise", "skip"] = "raise"  # of the stream that it feeds
    passes: int | None = None  # of a stream, whose length nobody knows: how many training samples an epoch passes
    window: int | None = None  # of the stream that it feeds: how far apart samples are asked for, where it passes
    broken: tuple[str, ...] = ()  # lines of its tables that were passed over, each with its place and the cause

    @abstractmethod
    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""

    def kin(self, name: Split) -> Sequence[Sequence[str]]:
        """The keys of each sample of a split, in order: samples that share one stay together where a set is divided."""
        return [[raw.id] for raw in self.split(name)]

    @property
    def name(self) -> str:
        """The name of the data set, for messages."""
        return type(self).__name__

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, or of the yes-no questions of a multi-label set, in the order of the targets."""
        return ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a model must know of the data, by the name its constructor gives it, for example `n_classes`.

        Of graphs with features also what their tokenizer must know, such as `node_vocab_sizes`: see `GRAPH_FACTS`.
        """
        return {"n_classes": len(self.labels)} if self.labels else {}

    @property
    def tokenizers(self) -> Mapping[str, Tokenizer]:
        """By modality, the tokenizers with which a run has to read, where what it holds was made with them."""
        return {}

    def baselines(self) -> Mapping[str, float]:
        """Scores of simple methods on the test split, for scale beside a model's; none unless a source knows one."""
        return {}

    def pass_over(self, error: ValueError) -> None:
        """Notes a line of a table that cannot be read, so that the rest can be.

        Raises:
            ValueError: unless `on_error` is `skip`: the error, with what would pass over it.
        """
        if self.on_error != "skip":
            raise ValueError(f"{error}; data.on_error=skip passes over it") from error
        self.broken += (str(error),)


def set_name(ids: str | None) -> str:
    """The name of a set by what its samples are called; empty where that names none.

    Example:
        >>> set_name("mnist/{split}/{row}"), set_name("{code}"), set_name(None)
        ('mnist', '', '')
    """
    before, _, behind = (ids or "").partition("/")
    return before if behind and "{" not in before else ""


def resolve(path: str | Path, data_root: str | Path | None) -> Path:
    """The place of a data set's file or folder: relative paths count from `data_root` where one is given.

    Example:
        >>> resolve("pictures", "/data").as_posix()
        '/data/pictures'
    """
    path = Path(path).expanduser()
    return path if data_root is None else Path(data_root).expanduser() / path


def own(path: str | Path, data_root: str | Path | None) -> Path:
    """The place of a user's own file or folder: looked for where one stands, then under `data_root`.

    What is in both is taken from where one stands, with a warning; what is in neither belongs under `data_root`.

    Example:
        >>> own("no such pictures", "/data").as_posix()
        '/data/no such pictures'
    """
    here, there = Path(path).expanduser(), resolve(path, data_root)
    if not here.exists():
        return there
    if there.exists() and not here.samefile(there):
        warnings.warn(
            f"{str(path)!r} is there twice, here and as {str(there)!r}; the one here is taken, give the whole path of "
            "the other to have that",
            stacklevel=2,
        )
    return here


def existing_folder(path: str | Path, data_root: str | Path | None) -> Path:
    """`own`, for a folder that must be there.

    Raises:
        FileNotFoundError: there is no such folder; says where it was looked for.
    """
    folder = own(path, data_root)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {str(path)!r} here, nor {str(folder)!r} (data_root={data_root}); give an existing folder, or "
            "set data_root to the folder that holds it"
        )
    return folder


def existing_file(path: str | Path, data_root: str | Path | None) -> Path:
    """`resolve`, for a file that must be there.

    Raises:
        FileNotFoundError: there is no such file; says where it was looked for.
    """
    file = resolve(path, data_root)
    if not file.is_file():
        raise FileNotFoundError(
            f"no file {str(file)!r} (from {str(path)!r}, data_root={data_root}); give an existing file, or set "
            "data_root to the folder that holds it"
        )
    return file
