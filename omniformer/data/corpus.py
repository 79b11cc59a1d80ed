"""Texts that are ids already, mapped from the disk: corpora larger than memory, written by `omniformer tokenize`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import omniformer_tokenizers
from omniformer_tokenizers import Corpus, Tokenizer

from omniformer.data.ring import Ring
from omniformer.data.source import Raw, Source, Split, existing_folder

TOKENIZER = "tokenizer"


class EncodedTexts(Sequence[Raw]):
    """Documents of a corpus as raw samples, decoded one by one when they are asked for; `Blocks` takes their ids.

    Args:
        corpus: the ids, each document ended by an end-of-text id.
        tokenizer: with which they were made.
        name: of the split, for ids.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, name: str) -> None:
        self.corpus, self.tokenizer, self.name = corpus, tokenizer, name

    def __len__(self) -> int:
        return len(self.corpus)

    @overload
    def __getitem__(self, index: int) -> Raw: ...
    @overload
    def __getitem__(self, index: slice) -> list[Raw]: ...
    def __getitem__(self, index: int | slice) -> Raw | list[Raw]:
        numbers = range(len(self))[index]  # counts from the end, and refuses what is out of range
        return self._raw(numbers) if isinstance(numbers, int) else [self._raw(number) for number in numbers]

    def _raw(self, number: int) -> Raw:
        text = self.tokenizer.decode(self.corpus[number][:-1].tolist())  # pyright: ignore[reportArgumentType]
        return Raw(id=f"{self.name}/document {number}", contents={"text": text})

    def ring(self, tokenizer: Tokenizer) -> Ring:
        """All ids on a ring, each document behind an end-of-text id; nothing is read.

        Args:
            tokenizer: that of the run.

        Raises:
            ValueError: it is another one than that of the corpus.
        """
        if tokenizer.digest != self.corpus.manifest["job"]["tokenizer"]:
            raise ValueError(
                f"{self.corpus.folder} holds ids of another vocabulary than that of this run; write the corpus again "
                "with omniformer tokenize --tokenizer, or begin without model.pretrained"
            )
        return Ring(self.corpus, turned=-1)  # the last document's end stands before the first one


class TokenizedCorpus(Source):
    """A folder that `omniformer tokenize` wrote: documents as ids, mapped and never loaded, whatever their size.

    Memory does not grow with the texts: per document eight bytes are mapped from the disk, too. The run reads and
    writes texts with the tokenizer of the folder.

    Args:
        folder: relative ones are looked for where one stands, then under `data_root`.
        data_root: where data lies on this machine; None means the current folder alone.

    Raises:
        FileNotFoundError: there is no such folder, or no finished corpus in it.
        ValueError: a file of it has not the size that it should have.
    """

    modalities = ("text",)

    def __init__(self, *, folder: str, data_root: str | None = None) -> None:
        self.folder = existing_folder(folder, data_root)
        if not (self.folder / TOKENIZER).is_dir():
            raise FileNotFoundError(
                f"{self.folder} is no corpus: it has no folder {TOKENIZER!r}; omniformer tokenize writes one from texts"
            )

    @cached_property
    def tokenizers(self) -> Mapping[str, Tokenizer]:
        """The tokenizer that made the ids."""
        return {"text": omniformer_tokenizers.load(self.folder / TOKENIZER)}

    def split(self, name: Split) -> Sequence[Raw]:
        """The documents of one split, in the order of the corpus."""
        place: Path = self.folder / name
        if name != "train" and not place.is_dir():
            return ()
        return EncodedTexts(Corpus(place), self.tokenizers["text"], name)
