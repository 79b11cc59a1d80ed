"""Text to ids with byte-level byte-pair encoding, and back without loss."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from omniformer_tokenizers._checks import need
from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.text.base import END_OF_TEXT, OwnVocabulary, ids_within, text_tokens, training_texts
from omniformer_tokenizers.text.tokenizer_json import FILE, byte_table, lossless, read_model
from omniformer_tokenizers.text.word_cache import WordCache
from omniformer_tokenizers.tokens import Packed, Tokens, pack


class BPETokenizer(OwnVocabulary):
    """Byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2) on the Hugging Face `tokenizers` library.

    All 256 bytes are in the vocabulary, so every Unicode string survives the round trip, whatever the training text
    was. Special tokens are ids for the model's own use: text that spells one is encoded as ordinary text. Lone
    surrogates become U+FFFD; `replaced` counts them.

    Args:
        vocab_size: the most ids that training may make, special tokens and the 256 bytes included. Training stops
            earlier when no pair occurs twice; `vocab_size` then tells the real size.
        special_tokens: names of ids that text never produces; the first ids of a trained vocabulary.

    Raises:
        ValueError: `vocab_size` has no room for the bytes and the special tokens, or a special token is named twice.

    Example:
        >>> tokenizer = BPETokenizer(vocab_size=300).fit(["the cat and the dog and the bird"])
        >>> tokenizer.decode(tokenizer("the cät"))
        'the cät'
    """

    def __init__(self, *, vocab_size: Count = 4096, special_tokens: tuple[str, ...] = (END_OF_TEXT,)) -> None:
        super().__init__(special_tokens=special_tokens)
        if vocab_size < 256 + len(special_tokens):
            raise ValueError(
                f"vocab_size={vocab_size} has no room for 256 bytes and {len(special_tokens)} special tokens; "
                f"give {256 + len(special_tokens)} or more"
            )
        need("tokenizers", "byte-pair encoding")
        self.max_vocab_size = vocab_size
        self._model: Any = None
        self._bytes: tuple[bytes, ...] | None = None
        self._words: WordCache | None = None

    @property
    def fitted(self) -> bool:
        """Whether there is a vocabulary: after `fit`, `from_pretrained` or `from_file`."""
        return self._model is not None

    @property
    def vocab_size(self) -> int:
        """The number of ids; before training, the number asked for."""
        return self._model.get_vocab_size() if self.fitted else self.max_vocab_size

    def with_special_tokens(self, names: Iterable[str]) -> Self:
        """The same vocabulary with further special tokens behind the last id.

        Raises:
            ValueError: one of them is there already; or there is no vocabulary yet.

        Example:
            >>> tokenizer = BPETokenizer(vocab_size=257).fit(["cat"]).with_special_tokens(["<image>"])
            >>> tokenizer.special_id("<image>")
            257
        """
        model = _read(self._trained().to_str(), "this vocabulary")
        known, names = set(model.get_vocab()), tuple(names)
        if there := [name for name in names if name in known]:
            raise ValueError(f"{there[0]!r} is a token of this vocabulary already")
        model.add_special_tokens(list(names))
        return type(self).from_model(model)

    def fit(self, raws: Iterable[str], *, show_progress: bool = False) -> Self:
        """Learns the merges from texts, which may be a generator: they are read once and counted, never kept.

        Raises:
            TypeError: one of the texts is not a string.
        """
        from tokenizers.pre_tokenizers import ByteLevel

        from tokenizers import Tokenizer as Model
        from tokenizers import decoders, models, trainers

        model = Model(models.BPE())
        model.pre_tokenizer = self._splitter()  # pyright: ignore[reportAttributeAccessIssue]
        model.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
        trainer = trainers.BpeTrainer(
            vocab_size=self.max_vocab_size,
            special_tokens=list(self.special_tokens),
            initial_alphabet=sorted(ByteLevel.alphabet()),
            show_progress=show_progress,
        )  # pyright: ignore[reportCallIssue]
        model.train_from_iterator(training_texts(raws), trainer)
        self._use(model)
        return self

    def __call__(self, raw: str) -> Tokens:
        """The tokens of one text."""
        return BPETokenizer.encode_batch(self, [raw])[0]

    def encode_batch(self, raws: Iterable[str]) -> list[Tokens]:
        """The tokens of many texts, encoded together."""
        return [text_tokens(torch.from_numpy(ids)) for ids in self.encode_ids(raws)]

    def encode_packed(self, raws: Iterable[str]) -> Packed:
        """The tokens of many texts as one pack: equal to `pack(encode_batch(raws))`, without the pieces between."""
        ids = self.encode_ids(raws)
        if not ids:
            return pack([])
        lengths = torch.tensor([len(row) for row in ids])
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        positions = (torch.arange(len(starts)) - starts).float()[:, None]
        return Packed(
            values=torch.from_numpy(np.concatenate(ids)), positions=positions, modality=self.modality, lengths=lengths
        )

    def encode_ids(self, raws: Iterable[str], dtype: type[np.integer] = np.int64) -> list[np.ndarray]:
        """The ids of many texts as plain arrays: the fastest way, for writing a corpus.

        Each different word is encoded once and remembered, where the vocabulary's way of cutting words allows it.
        """
        texts = [self._clean(raw) for raw in raws]
        self._trained()
        if self._words is not None:
            return self._words(texts, dtype)
        return [np.array(ids, dtype) for ids in self._encode_slowly(texts)]

    def offsets(self, raw: str) -> Tensor:
        """Where each token of a text begins and ends, in characters.

        A character of several bytes may be split over tokens: each of them then spans the whole character.

        Shapes:
            int64 `[tokens, 2]`.
        """
        offsets = self._trained().encode(self._clean(raw), add_special_tokens=False).offsets
        return torch.tensor(offsets, dtype=torch.int64).reshape(-1, 2)

    def decode(self, tokens: Tokens | Tensor | Iterable[int]) -> str:
        """The text of tokens or ids, exactly; special tokens are left out.

        Ids that do not join to whole characters, such as half an emoji from a sampling model, show as U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        table = self.token_bytes
        return b"".join([table[i] for i in ids_within(tokens, len(table))]).decode("utf-8", errors="replace")

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of text that each id stands for; none for a special token."""
        if self._bytes is None:
            self._bytes = byte_table(self._trained())
        return self._bytes

    @property
    def digest(self) -> str:
        """A fingerprint of the vocabulary and its rules: equal digests mean equal ids."""
        return hashlib.sha256(self._trained().to_str().encode()).hexdigest()

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"vocab_size": self.max_vocab_size, **super().config()}

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The tokenizer of a `tokenizer.json` in the format of the Hugging Face library; ids equal to that library's.

        Its own normaliser, if it has one, is kept; `decode` then gives the normalised text. See `vocabularies` for
        other formats.

        Raises:
            ValueError: the file is not such a tokenizer, or is not byte-level, so that text would be lost.
        """
        return cls.from_model(_read(read_text(path), str(path)))

    @classmethod
    def from_model(cls, model: Any) -> Self:
        """The tokenizer around a byte-level `tokenizers.Tokenizer` object, which it takes over."""
        specials = tuple(added.content for added in model.get_added_tokens_decoder().values() if added.special)
        tokenizer = cls(vocab_size=max(model.get_vocab_size(), 256 + len(specials)), special_tokens=specials)
        tokenizer._use(model)
        return tokenizer

    def _splitter(self) -> Any:
        from tokenizers.pre_tokenizers import ByteLevel

        return ByteLevel(add_prefix_space=False, use_regex=True)

    def _word_cache(self) -> WordCache | None:
        """A cache, where text is cut by GPT-2's pattern and by nothing else."""
        described = json.loads(self._model.to_str())
        cutter = described["pre_tokenizer"] or {}
        plain = cutter.get("type") == "ByteLevel" and cutter.get("use_regex") and not cutter.get("add_prefix_space")
        if not plain or described["normalizer"] or not all(added["special"] for added in described["added_tokens"]):
            return None
        return WordCache(encode=self._encode_slowly)

    def _encode_slowly(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._model.encode_batch_fast(texts, add_special_tokens=False)]

    def _special_id(self, name: str) -> int:
        return self._trained().token_to_id(name)

    def _trained(self) -> Any:
        if self._model is None:
            raise ValueError(f"{type(self).__name__} has no vocabulary yet; call fit(texts) or load one")
        return self._model

    def _use(self, model: Any) -> None:
        # Without the first line, text that spells a special token would become that token.
        model.encode_special_tokens = True
        model.no_truncation()
        model.no_padding()
        self._model = model
        self._bytes = None
        self._words = self._word_cache()

    def _save_files(self, folder: Path) -> None:
        (folder / FILE).write_text(self._trained().to_str(pretty=True), encoding="utf-8")

    def _load_files(self, folder: Path) -> None:
        self._use(_read(read_text(folder / FILE), str(folder / FILE)))

    def __getstate__(self) -> dict[str, Any]:
        # The library forgets encode_special_tokens when it is pickled, so its own text form travels instead.
        return self.__dict__ | {"_model": self._model.to_str() if self.fitted else None, "_words": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if state["_model"] is not None:
            self._use(_read(state["_model"], "a pickled tokenizer"))


def _read(text: str, source: str) -> Any:
    return lossless(read_model(text, source), source)
