"""Published vocabularies in the files of the library sentencepiece: T5, LLaMA 2, Marian."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from omniformer_tokenizers._checks import at_least, need
from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.text.published import Pieces, PublishedTokenizer, Text

MODEL_FILE, IDS_FILE = "sentencepiece.model", "vocab.json"


class SentencePieceTokenizer(PublishedTokenizer):
    """A vocabulary in a file of the library sentencepiece ([Kudo and Richardson 2018](https://arxiv.org/abs/1808.06226)):
    `spiece.model`, `tokenizer.model`, `source.spm`.

    Text may be lost: the file says how it is normalised, and what it does not know is unknown. Text that spells a
    special token stays text. Where a folder has a `tokenizer.json` too, `SubwordTokenizer` reads it without the
    library.

    Args:
        start: what a model begins to write from, where nothing is written yet: name or id of a special token, or
            several of them in order.
        stop: what ends a text that a model writes; any of them, where there are several.
        front: names of special tokens before every text, such as `<s>` of LLaMA 2.
        back: names of special tokens behind every text, such as `</s>` of T5.
        extra: how many special tokens `<extra_id_0>`, `<extra_id_1>`, ... come after the pieces, the last one first;
            100 in T5, which the file does not say.
        segments: whether tokens have the feature `segment`, 0 for the first text of a pair and 1 for the second.
        clean_up_spaces: whether `decode` takes away blanks before punctuation.

    Raises:
        ImportError: the library sentencepiece is not installed.
        ValueError: `extra` is negative.
    """

    def __init__(
        self,
        *,
        start: int | str | Sequence[int | str] | None = None,
        stop: int | str | Sequence[int | str] | None = None,
        front: Sequence[str] = (),
        back: Sequence[str] = (),
        extra: int = 0,
        segments: bool = False,
        clean_up_spaces: bool = False,
    ) -> None:
        super().__init__(start=start, stop=stop, segments=segments, clean_up_spaces=clean_up_spaces)
        need("sentencepiece", "a vocabulary in a file of sentencepiece")
        at_least(0, extra=extra)
        self.front, self.back, self.extra = tuple(front), tuple(back), extra
        self._file: bytes | None = None
        self._processor: Any = None
        # By piece, where ids are not those of the file (Marian, whose two files share one list of ids).
        self._ids_of: dict[str, int] | None = None
        self._pieces_of: dict[int, str] = {}
        self._special: dict[str, int] = {}
        self._template: tuple[list[int], list[int]] = ([], [])

    @property
    def fitted(self) -> bool:
        """Whether there is a vocabulary: after `from_file` or `from_pretrained`."""
        return self._processor is not None

    @property
    def vocab_size(self) -> int:
        """One more than the highest id. The model may have more rows, which then mean nothing."""
        n = self._read().get_piece_size() if self._ids_of is None else max(self._ids_of.values()) + 1
        return n + self.extra

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The names of ids that text does not produce by itself."""
        self._read()
        return tuple(self._special)

    @property
    def digest(self) -> str:
        """A fingerprint of the vocabulary and its rules: equal digests mean equal ids."""
        self._read()
        rules = json.dumps([self.front, self.back, self.extra, self._ids_of], sort_keys=True)
        return hashlib.sha256(rules.encode() + (self._file or b"")).hexdigest()

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().config() | {"front": list(self.front), "back": list(self.back), "extra": self.extra}

    @classmethod
    def from_file(cls, path: str | Path, *, ids: str | Path | None = None, **options: Any) -> Self:
        """The tokenizer of a file.

        Args:
            path: the file.
            ids: a JSON file of pieces and their ids, where these are not those of the file: `vocab.json` of Marian. A
                language such as `>>fra<<` before a text is then one token of it, as in Marian's models of several.
            **options: those of the class.

        Raises:
            ValueError: a file is damaged, or lacks a name that an option gives; names the file.
        """
        tokenizer = cls(**options)
        tokenizer._use(Path(path).read_bytes(), None if ids is None else _read_ids(Path(ids)), str(path))
        return tokenizer

    def offsets(self, raw: Text) -> Tensor:
        """Not available: the library tells them in no way that all its versions share."""
        raise TypeError("SentencePieceTokenizer tells no offsets; use a SubwordTokenizer, from a tokenizer.json")

    def _special_id(self, name: str) -> int:
        return self._special[name]

    def _pieces(self) -> Mapping[int, str]:
        if self._ids_of is not None:
            return self._pieces_of
        processor = self._read()
        return {i: processor.id_to_piece(i) for i in range(processor.get_piece_size())}

    def _encode(self, texts: Sequence[Text], *, template: bool) -> list[Pieces]:
        front, back = self._template if template else ([], [])
        found = []
        for text in texts:
            ids: list[int] = []
            segments: list[int] = []
            for number, part in enumerate([text] if isinstance(text, str) else text):
                new = [*front, *self._plain(part), *back]
                ids += new
                segments += [number] * len(new)
            found.append(Pieces(ids, segments, ()))
        return found

    def _plain(self, text: str) -> list[int]:
        if self._ids_of is None:
            return self._read().encode(text)
        unknown = self._ids_of["<unk>"]
        code, text = _language(text)
        return [self._ids_of.get(piece, unknown) for piece in [*code, *self._read().encode(text, out_type=str)]]

    def _decode(self, ids: list[int]) -> str:
        special = set(self._special.values())
        kept = [i for i in ids if i not in special]
        if self._ids_of is None:
            return self._read().decode(kept)
        pieces = [self._pieces_of[i] for i in kept if i in self._pieces_of]
        return self._read().decode(pieces).replace("\N{LOWER ONE EIGHTH BLOCK}", " ").strip()

    def _read(self) -> Any:
        if self._processor is None:
            raise ValueError(f"{type(self).__name__} has no vocabulary yet; use from_file or load one")
        return self._processor

    def _use(self, file: bytes, ids: Mapping[str, int] | None, source: str) -> None:
        library = need("sentencepiece", "a vocabulary in a file of sentencepiece")
        try:
            processor = library.SentencePieceProcessor(model_proto=file)
            n = processor.get_piece_size()
        except RuntimeError as error:
            raise ValueError(f"{source} is not a file of sentencepiece, or damaged: {error}") from error
        if not n:
            raise ValueError(f"{source} has no pieces")
        self._file, self._processor = file, processor
        self._ids_of = None if ids is None else dict(ids)
        self._pieces_of = {i: piece for piece, i in (ids or {}).items()}
        if ids is None:
            known = {
                processor.id_to_piece(i): i for i in range(n) if processor.is_control(i) or processor.is_unknown(i)
            }
            self._special = known | {f"<extra_id_{i}>": n + self.extra - 1 - i for i in range(self.extra)}
        else:
            self._special = {name: ids[name] for name in ("<unk>", "</s>", "<pad>") if name in ids}
        self._template = (list(self._ids(self.front, source)), list(self._ids(self.back, source)))
        self._found(source)

    def _save_files(self, folder: Path) -> None:
        self._read()
        (folder / MODEL_FILE).write_bytes(self._file or b"")
        if self._ids_of is not None:
            text = json.dumps(self._ids_of, ensure_ascii=False, indent=0)
            (folder / IDS_FILE).write_text(text, encoding="utf-8")

    def _load_files(self, folder: Path) -> None:
        path = folder / IDS_FILE
        ids = _read_ids(path) if path.is_file() else None
        self._use((folder / MODEL_FILE).read_bytes(), ids, str(folder / MODEL_FILE))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_processor": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if self._file is not None:
            self._use(self._file, self._ids_of, "a pickled tokenizer")


def _language(text: str) -> tuple[list[str], str]:
    """A language before a text, and the rest: `>>fra<<`, with which one says what Marian is to translate to."""
    end = text.find("<<")
    return ([text[: end + 2]], text[end + 2 :]) if text.startswith(">>") and end >= 0 else ([], text)


def _read_ids(path: Path) -> dict[str, int]:
    try:
        ids = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(ids, dict) or not all(isinstance(i, int) and i >= 0 for i in ids.values()) or "<unk>" not in ids:
        raise ValueError(f"{path} does not hold pieces and their ids, <unk> among them")
    return ids
