"""What the tokenizers of published text models share: templates of special tokens, where a model begins and ends."""

import copy
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from omniformer_tokenizers.text.base import TextTokenizer, text_tokens
from omniformer_tokenizers.tokens import Tokens, framed

Text = str | tuple[str, str]
"""What is encoded: a text, or two that belong together, such as a question and where its answer stands."""

_BYTE = re.compile("<0x[0-9A-F]{2}>")
# Blanks that old configurations want taken away, in this order.
_CLEANED = {" .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'", " n't": "n't", " 'm": "'m"}
_CLEANED |= {" 's": "'s", " 've": "'ve", " 're": "'re"}


class Pieces(NamedTuple):
    """One text in pieces.

    Args:
        ids: of the pieces.
        segments: 0 for pieces of the first text, 1 for those of the second.
        offsets: where each piece begins and ends in its text, in characters.
    """

    ids: Sequence[int]
    segments: Sequence[int]
    offsets: Sequence[tuple[int, int]]


class PublishedTokenizer(TextTokenizer):
    """A vocabulary that somebody published with a model.

    A call gives the ids that the model was trained on: the pieces of the text, and around them the special tokens of
    the vocabulary's template, such as `[CLS] ... [SEP]`. A pair of texts is one sample.

    Args:
        start: what a model begins to write from, where nothing is written yet: name or id of a special token, or
            several of them in order. Published configurations call it `decoder_start_token_id`, or `bos_token_id`.
        stop: what ends a text that a model writes; any of them, where there are several (`eos_token_id`).
        segments: whether tokens have the feature `segment`, 0 for the first text of a pair and 1 for the second, which
            BERT reads.
        clean_up_spaces: whether `decode` takes away blanks before punctuation, as the configurations of some published
            vocabularies want it (`clean_up_tokenization_spaces`).
    """

    def __init__(
        self,
        *,
        start: int | str | Sequence[int | str] | None = None,
        stop: int | str | Sequence[int | str] | None = None,
        segments: bool = False,
        clean_up_spaces: bool = False,
    ) -> None:
        self.start_names, self.stop_names = _listed(start), _listed(stop)
        self.segments, self.clean_up_spaces = segments, clean_up_spaces
        self._cleans = clean_up_spaces
        # Found once there is a vocabulary: the ids of the names, and those that the template puts around every text.
        self._beginning: tuple[int, ...] = ()
        self._stops: tuple[int, ...] = ()
        self._front: list[int] = []
        self._byte_pieces: frozenset[int] | None = None

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """One more than the highest id. The model may have more rows, which then mean nothing."""

    @property
    @abstractmethod
    def special_tokens(self) -> tuple[str, ...]:
        """The names of ids that text does not produce by itself."""

    @abstractmethod
    def _encode(self, texts: Sequence[Text], *, template: bool) -> list[Pieces]:
        """The pieces of cleaned texts."""

    @abstractmethod
    def _decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens left out."""

    @abstractmethod
    def _pieces(self) -> Mapping[int, str]:
        """The pieces by their ids, as the vocabulary writes them."""

    def fit(self, raws: Iterable[str]) -> Self:
        """Nothing, where the vocabulary is there.

        Raises:
            ValueError: there is none: it is read from a file, not learned.
        """
        if not self.fitted:
            raise ValueError(
                f"{type(self).__name__} reads published vocabularies and learns none: use from_file, or train a "
                "BPETokenizer"
            )
        return self

    @property
    def beginning(self) -> tuple[int, ...]:
        """The ids from which a model begins to write."""
        return self._beginning

    @property
    def stops(self) -> tuple[int, ...]:
        """The ids that end what a model writes, `stop` first."""
        return self._stops

    @property
    def start(self) -> int | None:
        """The first id from which a model begins to write."""
        return next(iter(self._beginning), None)

    @property
    def stop(self) -> int | None:
        """The id with which a model ends a text."""
        return next(iter(self._stops), None)

    @property
    def end_of_text(self) -> int:
        """The id that ends a document in a corpus: `stop`.

        Raises:
            AttributeError: none was given.
        """
        if not self._stops:
            raise AttributeError(f"this {type(self).__name__} was given no stop, so it has no end of text")
        return self._stops[0]

    @property
    def token_sizes(self) -> tuple[int, ...]:
        """How many bytes of text each id stands for; none for a special token.

        Vocabularies of words hold no blanks, so that these are not counted.
        """
        special = {self.special_id(name) for name in self.special_tokens}
        sizes = [0] * self.vocab_size
        for i, piece in self._pieces().items():
            sizes[i] = 0 if i in special else 1 if _BYTE.fullmatch(piece) else len(_shown(piece).encode())
        return tuple(sizes)

    @property
    def byte_pieces(self) -> frozenset[int]:
        """The ids of single bytes, which stand for characters without a piece: what a run of them says is known at its
        end, since one wrong byte spoils them all.
        """
        if self._byte_pieces is None:
            self._byte_pieces = frozenset(i for i, piece in self._pieces().items() if _BYTE.fullmatch(piece))
        return self._byte_pieces

    def __call__(self, raw: Text) -> Tokens:
        """The tokens of one text, or of a pair of texts; what is special about it is told by its class.

        Raises:
            TypeError: neither a string nor two of them.
        """
        return PublishedTokenizer.encode_batch(self, [raw])[0]

    def encode_batch(self, raws: Iterable[Text]) -> list[Tokens]:
        """The tokens of many texts, encoded together."""
        return [self._tokens(pieces) for pieces in self._encode([self._clean(raw) for raw in raws], template=True)]

    def encode_ids(self, raws: Iterable[str], dtype: type[np.integer] = np.int64) -> list[np.ndarray]:
        """The ids of many texts as plain arrays without the template: for writing a corpus."""
        pieces = self._encode([self._clean(raw) for raw in raws], template=False)
        return [np.array(each.ids, dtype) for each in pieces]

    def offsets(self, raw: Text) -> Tensor:
        """Where each token begins and ends in its text, in characters; (0, 0) for tokens of the template.

        Shapes:
            int64 `[tokens, 2]`.
        """
        (pieces,) = self._encode([self._clean(raw)], template=True)
        return torch.tensor(pieces.offsets, dtype=torch.int64).reshape(-1, 2)

    def beginning_with(self, *names: int | str) -> Self:
        """The same tokenizer for a model that is told to begin otherwise: in another language, with another task.

        Args:
            *names: of special tokens, or ids.

        Raises:
            ValueError: there is no such special token.
        """
        other = copy.copy(self)
        other.start_names, other._beginning = names, self._ids(names, "beginning_with")
        return other

    def begun(self, tokens: Tokens) -> Tokens:
        """What a model goes on from: a prompt as the template makes it, or what it begins with where there is none."""
        return tokens if len(tokens) else framed(tokens, start=self.beginning)

    def answer(self, tokens: Tokens) -> Tokens:
        """A whole answer, as a model learns to write it: from its beginning to its stop, neither of them twice where
        the template has put it there already.
        """
        ids = tokens.values.tolist()
        front = self._front if ids[: len(self._front)] == self._front else []
        known = front and (list(self._beginning[-len(front) :]) == front or self._beginning[:1] == tuple(front[:1]))
        inner = ids[len(front) :] if known else ids
        ends = bool(inner) and inner[-1] in self._stops
        values = tokens.values.new_tensor([*self._beginning, *inner, *(() if ends else self._stops[:1])])
        return replace(text_tokens(values), modality=tokens.modality)

    def decode(self, tokens: Tokens | Tensor | Iterable[int]) -> str:
        """The text of tokens or ids; special tokens are left out, and so are ids that the vocabulary does not have:
        published models have rows that mean nothing.

        Raises:
            ValueError: an id is negative.
        """
        ids = tokens.values if isinstance(tokens, Tokens) else tokens
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if wrong := [i for i in ids if i < 0]:
            raise ValueError(f"id {wrong[0]} is negative; ids of this vocabulary are 0 to {self.vocab_size - 1}")
        text = self._decode([i for i in ids if i < self.vocab_size])
        for found, kept in _CLEANED.items() if self._cleans else ():
            text = text.replace(found, kept)
        return text

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"segments": self.segments, "clean_up_spaces": self.clean_up_spaces}
        return {"start": list(self.start_names), "stop": list(self.stop_names)} | own

    def _found(self, source: str) -> None:
        """What is known once there is a vocabulary.

        Raises:
            ValueError: it does not have a name, or its template holds an id that it does not have.
        """
        (plain,) = self._encode(["a"], template=False)
        (whole,) = self._encode(["a"], template=True)
        if outside := [i for i in whole.ids if i >= self.vocab_size]:
            raise ValueError(f"{source} puts id {outside[0]} around texts, but has only {self.vocab_size} ids")
        places = range(len(whole.ids) - len(plain.ids) + 1)
        place = next((i for i in places if list(whole.ids[i : i + len(plain.ids)]) == list(plain.ids)), 0)
        self._front, self._byte_pieces = list(whole.ids[:place]), None
        self._beginning = self._ids(self.start_names, source)
        self._stops = self._ids(self.stop_names, source)

    def _ids(self, names: Sequence[int | str], source: str) -> tuple[int, ...]:
        try:
            return tuple(name if isinstance(name, int) else self.special_id(name) for name in names)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    def _tokens(self, pieces: Pieces) -> Tokens:
        tokens = text_tokens(torch.tensor(pieces.ids, dtype=torch.int64))
        if not self.segments:
            return tokens
        return replace(tokens, features={"segment": torch.tensor(pieces.segments, dtype=torch.int64)})

    def _clean(self, raw: Text) -> Text:  # pyright: ignore[reportIncompatibleMethodOverride]
        if isinstance(raw, tuple) and len(raw) == 2:
            first, second = map(super()._clean, raw)
            return first, second
        return super()._clean(raw)  # pyright: ignore[reportArgumentType]


def _shown(piece: str) -> str:
    """A piece of a word as text, without the marks of its vocabulary."""
    return piece.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").replace("</w>", " ").removeprefix("##")


def _listed(names: int | str | Sequence[int | str] | None) -> tuple[int | str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, int | str) else tuple(names)
