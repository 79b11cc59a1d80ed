"""Subwords of published text models, from a `tokenizer.json`: WordPiece, byte pairs, unigram pieces."""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from omniformer_tokenizers._checks import need
from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.interleaving import tiles_apart
from omniformer_tokenizers.text.chat import ChatTemplate, Conversation, Piece
from omniformer_tokenizers.text.published import Pieces, PublishedTokenizer, Text
from omniformer_tokenizers.text.tokenizer_json import FILE, byte_table, is_of_library, read_model
from omniformer_tokenizers.tokens import Tokens


class SubwordTokenizer(PublishedTokenizer):
    """Any `tokenizer.json` of the Hugging Face `tokenizers` library: WordPiece ([Wu et al. 2016](https://arxiv.org/abs/1609.08144)),
    byte pairs ([Sennrich et al. 2016](https://arxiv.org/abs/1508.07909)), unigram pieces
    ([Kudo 2018](https://arxiv.org/abs/1804.10959)).

    Ids are those of the library: its normaliser, its way of cutting and its template of special tokens included. So
    text may be lost: case, accents and blanks, as the file says, and what the vocabulary does not know. `decode` gives
    what is left. `BPETokenizer` is the one that loses nothing, and that is trained.

    Args:
        start: what a model begins to write from, where nothing is written yet: name or id of a special token, or
            several of them in order. Published configurations call it `decoder_start_token_id`, or `bos_token_id`.
        stop: what ends a text that a model writes; any of them, where there are several (`eos_token_id`).
        segments: whether tokens have the feature `segment`, 0 for the first text of a pair and 1 for the second, which
            BERT reads.
        special_in_text: whether text that spells a special token becomes that token, as the library does unless told
            otherwise: for filled-in chat templates and for `[MASK]`. By default it stays text (or is unknown, in
            unigram vocabularies), so that what strangers write cannot pass for what the system says.
        clean_up_spaces: whether `decode` takes away blanks before punctuation, as the configurations of some published
            vocabularies want it (`clean_up_tokenization_spaces`); never for byte pairs, as the reference has it.
        chat: how conversations become text: `templates` by name, and the `names` of special tokens in them; see
            `ChatTemplate`. None where the vocabulary came without.
        placeholders: by modality, the special token, by name or id, that stands in a text for one picture or sound,
            such as `{"vision": "<image>"}`; none where the model reads texts alone.
        tiles: what stands around the placeholders of a picture's tiles: `tile` for one at `{row}` and `{column}`,
            counted from 1, `row_end` behind a row of them, `whole` for the whole picture behind them, and `alone` for a
            picture that is one tile. None where pictures have no tiles.

    Raises:
        ImportError: the library `tokenizers` is not installed.

    Example:
        >>> import tokenizers
        >>> pieces = tokenizers.models.WordPiece({"[UNK]": 0, "cat": 1, "##s": 2}, unk_token="[UNK]")
        >>> model = tokenizers.Tokenizer(pieces)
        >>> tokenizer = SubwordTokenizer.from_model(model)
        >>> tokenizer("cats").values.tolist()
        [1, 2]
    """

    def __init__(
        self,
        *,
        start: int | str | Sequence[int | str] | None = None,
        stop: int | str | Sequence[int | str] | None = None,
        segments: bool = False,
        special_in_text: bool = False,
        clean_up_spaces: bool = False,
        chat: Mapping[str, Any] | None = None,
        placeholders: Mapping[str, int | str] | None = None,
        tiles: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(start=start, stop=stop, segments=segments, clean_up_spaces=clean_up_spaces)
        need("tokenizers", "a published vocabulary")
        self.special_in_text = special_in_text
        self.chat = None if chat is None else ChatTemplate(**chat)
        self.placeholder_names = dict(placeholders or {})
        self.tiles = None if tiles is None else dict(tiles)
        self._model: Any = None
        self._size = 0
        self._suffix = ""
        # Special tokens that are pieces too, so that text may spell them whatever the library is told; and what
        # stands for them then.
        self._spelled: frozenset[int] = frozenset()
        self._unknown = 0
        self._bytes: tuple[bytes, ...] | None = None

    @property
    def fitted(self) -> bool:
        """Whether there is a vocabulary: after `from_file`, `from_model` or `from_pretrained`."""
        return self._model is not None

    @property
    def vocab_size(self) -> int:
        """One more than the highest id. The model may have more rows, which then mean nothing."""
        self._read()
        return self._size

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The names of ids that text does not produce by itself."""
        added = self._read().get_added_tokens_decoder().values()
        return tuple(token.content for token in added if token.special)

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of text that each id stands for; none for a special token.

        Raises:
            AttributeError: pieces of this vocabulary do not join to text by themselves, as those of bytes do.
        """
        self._read()
        if self._bytes is None:
            raise AttributeError("token_bytes: only vocabularies of bytes (GPT-2, LLaMA 3) say what an id stands for")
        return self._bytes

    @property
    def token_sizes(self) -> tuple[int, ...]:
        """How many bytes of text each id stands for; none for a special token.

        Vocabularies of words hold no blanks, so that these are not counted.
        """
        self._read()
        return super().token_sizes if self._bytes is None else tuple(map(len, self._bytes))

    @property
    def placeholders(self) -> Mapping[str, int]:
        """By modality, the id that stands in a text for one picture or sound."""
        return dict(
            zip(self.placeholder_names, self._ids(tuple(self.placeholder_names.values()), "placeholders"), strict=True)
        )

    @property
    def digest(self) -> str:
        """A fingerprint of the vocabulary and its rules: equal digests mean equal ids."""
        return hashlib.sha256(f"{self.special_in_text}\n{self._read().to_str()}".encode()).hexdigest()

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        chat = {} if self.chat is None else {"chat": vars(self.chat)}
        placeholders = {"placeholders": self.placeholder_names} if self.placeholder_names else {}
        tiles = {"tiles": self.tiles} if self.tiles else {}
        return super().config() | {"special_in_text": self.special_in_text} | chat | placeholders | tiles

    def __call__(self, raw: Text | Conversation) -> Tokens:
        """The tokens of one text, of a pair of texts, or of a conversation."""
        return self.converse(raw) if isinstance(raw, Conversation) else super().__call__(raw)

    def encode_batch(self, raws: Iterable[Text | Conversation]) -> list[Tokens]:
        """The tokens of many texts, encoded together, or of conversations."""
        raws = list(raws)
        talks = any(isinstance(raw, Conversation) for raw in raws)
        return [self(raw) for raw in raws] if talks else super().encode_batch(raws)  # pyright: ignore[reportArgumentType]

    def converse(self, talk: Conversation) -> Tokens:
        """The tokens of a conversation, as the chat template of the vocabulary arranges it.

        The feature `written` tells the assistant's words, where the template does. Special tokens that messages spell
        stay text.

        Raises:
            ValueError: there is no chat template, or it refuses the conversation, or the vocabulary makes a special
                token of text whatever it is told.
        """
        if self.chat is None:
            raise ValueError("this vocabulary has no chat template, so that nobody can say how it reads conversations")
        talk = talk.in_parts() if self.placeholder_names else talk
        pieces, written = self.chat.pieces(talk, self.special_tokens)
        ids: list[int] = []
        kept: list[bool] = []
        for piece in pieces:
            for i, (first, last) in self._talked(piece, behind=bool(ids)):
                ids.append(i)
                places = piece.start + first, piece.start + last
                kept.append(any(places[0] < end and begin < places[1] for begin, end in written or ()))
        # A processor of texts and pictures frames the text of a conversation like any other, unless it begins so.
        front = self._front if self.placeholder_names and ids[: len(self._front)] != self._front else []
        ids, kept = [*front, *ids], [*([False] * len(front)), *kept]
        tokens = self._tokens(Pieces(ids, [0] * len(ids), ()))
        if written is None:
            return tokens
        return replace(tokens, features={**tokens.features, "written": torch.tensor(kept, dtype=torch.bool)})

    def interleave(self, text: Tokens, others: Mapping[str, Sequence[Tokens]]) -> list[Tokens]:
        """The pieces of a sample; pictures of several tiles with the words around these."""
        if self.tiles is not None:
            others = dict(others)
            for modality, placeholder in self.placeholders.items():
                text, others[modality] = tiles_apart(text, others.get(modality, ()), placeholder, self._around_tiles)
        return super().interleave(text, others)

    def _around_tiles(self, rows: int, columns: int) -> list[int]:
        """The ids around the tiles of a picture, and its placeholders."""
        assert self.tiles is not None
        said = self.tiles["alone"]
        if rows * columns:
            lines = (
                "".join(self.tiles["tile"].format(row=i + 1, column=j + 1) for j in range(columns))
                + self.tiles["row_end"]
                for i in range(rows)
            )
            said = "".join(lines) + self.tiles["whole"]
        model = self._read()
        model.encode_special_tokens = False
        try:
            return model.encode(said, add_special_tokens=False).ids
        finally:
            model.encode_special_tokens = not self.special_in_text

    def _talked(self, piece: Piece, *, behind: bool) -> list[tuple[int, tuple[int, int]]]:
        """The ids of a stretch of a conversation, and where they stand in it.

        Some vocabularies put a blank before a text: behind another stretch it is read behind a line feed, which is
        then left out.
        """
        model = self._read()
        model.encode_special_tokens = piece.spelled
        try:
            feed = model.encode("\n", add_special_tokens=False).ids
            found = model.encode(f"\n{piece.text}" if behind else piece.text, add_special_tokens=False)
            n, shift = len(feed), 1
            if not behind or found.ids[:n] != feed:
                found, n, shift = model.encode(piece.text, add_special_tokens=False), 0, 0
        finally:
            model.encode_special_tokens = not self.special_in_text
        if piece.spelled and model.token_to_id(piece.text) in found.ids:
            raise ValueError(f"this vocabulary cannot read {piece.text!r} as text; take it out of the message")
        return [(i, (a - shift, b - shift)) for i, (a, b) in zip(found.ids[n:], found.offsets[n:], strict=True)]

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> Self:
        """The tokenizer of a `tokenizer.json`.

        Args:
            path: the file.
            **options: those of the class.

        Raises:
            ValueError: the file is damaged, or drops pieces at random, or lacks a name that `start` or `stop` gives;
                names the file.
        """
        return cls.from_text(read_text(path), str(path), **options)

    @classmethod
    def from_text(cls, text: str, source: str, **options: Any) -> Self:
        """The tokenizer of the content of a `tokenizer.json`; `source` names it in messages."""
        tokenizer = cls(**options)
        tokenizer._use(read_model(text, source), source)
        return tokenizer

    @classmethod
    def from_model(cls, model: Any, **options: Any) -> Self:
        """The tokenizer around a copy of a `tokenizers.Tokenizer` object."""
        return cls.from_text(model.to_str(), "this tokenizers.Tokenizer", **options)

    def with_special_tokens(self, names: Iterable[str]) -> Self:
        """The same vocabulary with further special tokens behind the last id.

        Raises:
            ValueError: one of them is there already.
        """
        model, names = self.library_model(), tuple(names)
        known = model.get_vocab(with_added_tokens=True)
        if there := [name for name in names if name in known]:
            raise ValueError(f"{there[0]!r} is a token of this vocabulary already")
        model.add_special_tokens(list(names))
        return type(self).from_model(model, **self.config())

    def reading_special(self) -> Self:
        """The same tokenizer, for text in which special tokens are spelled: `special_in_text=True`."""
        other = copy.copy(self)
        other.special_in_text = True
        other._use(self.library_model(), "this tokenizer")
        return other

    def library_model(self) -> Any:
        """A copy of the `tokenizers.Tokenizer` inside, to be changed and given to `from_model`."""
        return read_model(self._read().to_str(), "this tokenizer")

    def which_text(self, raw: Text) -> Tensor:
        """Which text of a pair each token stands in, 0 or 1; -1 for tokens of the template. It says what `segment`
        does not: RoBERTa's segments are all 0, and BERT's template has some too.

        Shapes:
            int64 `[tokens]`.
        """
        (pieces,) = self._library_encode([self._clean(raw)], template=True)
        return torch.tensor([-1 if text is None else text for text in pieces.sequence_ids], dtype=torch.int64)

    def _special_id(self, name: str) -> int:
        return self._read().token_to_id(name)

    def _pieces(self) -> Mapping[int, str]:
        return {i: piece for piece, i in self._read().get_vocab(with_added_tokens=True).items()}

    def _encode(self, texts: Sequence[Text], *, template: bool) -> list[Pieces]:
        found = self._library_encode(texts, template=template)
        return [Pieces(self._unspelled(each), each.type_ids, each.offsets) for each in found]

    def _library_encode(self, texts: Sequence[Text], *, template: bool) -> list[Any]:
        model = self._read()
        try:
            return model.encode_batch(list(texts), add_special_tokens=template)
        except BaseException as error:
            if not is_of_library(error):
                raise
            raise ValueError(f"this vocabulary cannot encode such text: {error!r}") from error

    def _unspelled(self, encoding: Any) -> list[int]:
        """The ids of a text, without special tokens that it spells."""
        if not self._spelled:
            return encoding.ids
        places = zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        return [i if ours or i not in self._spelled else self._unknown for i, ours in places]

    def _decode(self, ids: list[int]) -> str:
        text = self._read().decode(ids, skip_special_tokens=True)
        # CLIP marks ends of words and its file does not say how they are shown.
        return text.replace(self._suffix, " ").strip() if self._suffix else text

    def _read(self) -> Any:
        if self._model is None:
            raise ValueError(f"{type(self).__name__} has no vocabulary yet; use from_file or load one")
        return self._model

    def _use(self, model: Any, source: str) -> None:
        model.encode_special_tokens = not self.special_in_text
        model.no_truncation()
        model.no_padding()
        self._model = model
        self._size = max(model.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        if not self._size:
            raise ValueError(f"{source} has no tokens")
        described = json.loads(model.to_str())
        of_bytes = (described["decoder"] or {}).get("type") == "ByteLevel"
        self._suffix = (described["model"].get("end_of_word_suffix") or "") if of_bytes else ""
        if described["model"]["type"] == "Unigram" and not self.special_in_text:
            self._unknown = described["model"]["unk_id"] or 0
            self._spelled = frozenset(map(model.token_to_id, self.special_tokens)) - {self._unknown}
        else:
            self._spelled = frozenset()
        self._cleans = self.clean_up_spaces and described["model"]["type"] != "BPE"
        self._bytes = byte_table(model) if of_bytes and not self._suffix else None
        try:
            self._found(source)
        except ValueError as error:
            raise error if source in str(error) else ValueError(f"{source}: {error}") from error

    def _save_files(self, folder: Path) -> None:
        (folder / FILE).write_text(self._read().to_str(pretty=True), encoding="utf-8")

    def _load_files(self, folder: Path) -> None:
        path = folder / FILE
        self._use(read_model(read_text(path), str(path)), str(path))

    def __getstate__(self) -> dict[str, Any]:
        # The library forgets encode_special_tokens when it is pickled, so its own text form travels instead.
        return self.__dict__ | {"_model": self._model.to_str() if self.fitted else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if state["_model"] is not None:
            self._use(read_model(state["_model"], "a pickled tokenizer"), "a pickled tokenizer")
