"""The contract every tokenizer keeps, and the door through which a saved one comes back."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from torch import Tensor

from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.interleaving import interleaved
from omniformer_tokenizers.tokens import Tokens, framed

CONFIG_FILE = "tokenizer_config.json"
MODULE = "tokenizer_module"  # where a class that is not ours is defined


class Tokenizer(ABC):
    """Turns one raw sample into `Tokens`; has no learned weights, runs in data workers, and pickles.

    A subclass keeps its constructor arguments as attributes of the same name (`save_pretrained` writes them), sets
    `modality`, and implements `__call__`. One that must be fitted on data first (a vocabulary, a codebook, statistics)
    also overrides `_save_files` and `_load_files`; fitting is deterministic.
    """

    modality: ClassVar[str]
    reads_strings: bool = False  # whether a string is a sample, as SMILES is; of text it always is
    suffixes: ClassVar[tuple[str, ...]] = ()  # of files that it reads, in small letters, beside those of its modality

    @abstractmethod
    def __call__(self, raw: Any) -> Tokens:
        """The tokens of one raw sample."""

    @property
    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """The sizes an embedder must know, by the name its constructor gives them: `vocab_size`, `features`, `axes`...

        Plain JSON values; those of a fitted tokenizer are final only once it is fitted.
        """

    @property
    def start(self) -> int | None:
        """The id from which a model begins to write tokens of this kind; None where tokens are no ids."""
        return None

    @property
    def stop(self) -> int | None:
        """The id with which a model says that it has written all; None where the number of tokens is known."""
        return None

    @property
    def beginning(self) -> tuple[int, ...]:
        """All ids that stand before anything is written: `start`; several where a model is told what to write, such as
        the language and the task of Whisper.
        """
        return () if self.start is None else (self.start,)

    @property
    def stops(self) -> tuple[int, ...]:
        """All ids that end what a model writes, `stop` first."""
        return () if self.stop is None else (self.stop,)

    @property
    def placeholders(self) -> Mapping[str, int]:
        """By modality, the id that stands in a text for one picture or sound; none where texts hold none."""
        return {}

    def interleave(self, text: Tokens, others: Mapping[str, Sequence[Tokens]]) -> list[Tokens]:
        """The pieces of a sample: its text, with what placeholders stand for in their places; see `interleaved`."""
        return interleaved(text, others, self.placeholders)

    def begun(self, tokens: Tokens) -> Tokens:
        """What a model goes on from: its beginning, and behind it the tokens that are written already."""
        return framed(tokens, start=self.beginning)

    def answer(self, tokens: Tokens) -> Tokens:
        """The tokens as a whole answer: from where a model begins to write to where it stops."""
        return framed(tokens, start=self.beginning, stop=self.stop)

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as plain JSON values."""

    @property
    def fitted(self) -> bool:
        """Whether the tokenizer is ready: always, unless it learns something from data with `fit` first."""
        return True

    def fit(self, raws: Iterable[Any]) -> Self:
        """Learns from raw samples what the tokenizer needs (a vocabulary, a codebook, statistics), deterministically.

        A tokenizer that has nothing to learn reads nothing. Pass training samples only.
        """
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that reads one sample in its own way, and says nothing of many, reads these one by one."""
        super().__init_subclass__(**options)
        if "__call__" in vars(cls) and "encode_batch" not in vars(cls):
            cls.encode_batch = Tokenizer.encode_batch

    def encode_batch(self, raws: Iterable[Any]) -> list[Tokens]:
        """The tokens of many raw samples: equal to one call each, but faster where batching helps."""
        return [self(raw) for raw in raws]

    @property
    def stack_shape(self) -> tuple[int | None, ...] | None:
        """The shape of one of the raw samples that `of_stack` takes, with None for an axis of any length; None where
        tokens depend on more than shapes, so that no exported program can make them.
        """
        return None

    def stackable(self, raw: Any) -> Tensor:
        """A raw sample as `of_stack` takes it: a picture of the size that is cut, a waveform of the rate that is read.

        Raises:
            TypeError: there is no `stack_shape`.
        """
        raise TypeError(f"{type(self).__name__} makes no tokens of stacked samples")

    def of_stack(self, raws: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Values, positions and features of raw samples of one shape, by operations that a tracer can follow.

        Args:
            raws: what `stackable` makes of each.

        Raises:
            TypeError: there is no `stack_shape`.

        Shapes:
            raws `[samples, *stack_shape]` → values `[samples, tokens, features]`, positions `[samples, tokens, axes]`,
            each feature `[samples, tokens]`.
        """
        raise TypeError(f"{type(self).__name__} makes no tokens of stacked samples")

    def decode(self, tokens: Tokens) -> Any:
        """The raw sample back from its tokens, where an inverse exists.

        Raises:
            TypeError: this tokenizer loses information that no inverse can restore.
        """
        raise TypeError(f"{type(self).__name__} has no inverse: its tokens do not determine the raw sample")

    @property
    def digest(self) -> str:
        """A fingerprint of all that `save_pretrained` writes: equal digests mean equal tokens.

        Example:
            >>> from omniformer_tokenizers import ByteTokenizer
            >>> ByteTokenizer().digest == ByteTokenizer().digest
            True
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            parts = [f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the tokenizer as JSON and safetensors into `folder`, which is made when missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"tokenizer": type(self).__name__, **_module(type(self)), **self.config()}
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self._save_files(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The tokenizer that `save_pretrained` wrote into `folder`.

        Raises:
            FileNotFoundError: the folder holds no saved tokenizer, or one of its files is missing.
            ValueError: it holds a tokenizer of another class, or a file is damaged.
        """
        config = _read_config(Path(folder))
        name = config.pop("tokenizer")
        config.pop(MODULE, None)
        if name != cls.__name__:
            raise ValueError(
                f"{folder} holds a {name}, not a {cls.__name__}; use omniformer_tokenizers.load({str(folder)!r})"
            )
        try:
            tokenizer = cls._from_config(config)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{Path(folder) / CONFIG_FILE} does not describe a {name}: {error}") from error
        tokenizer._load_files(Path(folder))
        return tokenizer

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        """The tokenizer that `config` described, before its files are read.

        Only what `config()` writes may stand there: an argument that names a place on this machine, such as the folder
        of a cache, is its user's affair.

        Raises:
            ValueError: there is another key.
        """
        tokenizer = cls(**config)
        if unknown := sorted(set(config) - set(tokenizer.config())):
            raise ValueError(f"a saved {cls.__name__} has no {unknown[0]!r}; set it where the tokenizer is made")
        return tokenizer

    def remade(self) -> Self:
        """Another tokenizer as `config` describes this one, without what fitting found: the way in which one comes back
        from a folder.

        Raises:
            TypeError: `config` gives what the constructor does not take, or what is no JSON.
            ValueError: the constructor refuses it.

        Example:
            >>> from omniformer_tokenizers import PatchTokenizer
            >>> PatchTokenizer(patch_size=4).remade().patch_size
            4
        """
        return self._from_config(json.loads(json.dumps(self.config())))

    def _save_files(self, folder: Path) -> None:  # noqa: B027 - most tokenizers have nothing to write
        """Writes what fitting found; nothing for a tokenizer that is not fitted."""

    def _load_files(self, folder: Path) -> None:  # noqa: B027
        """Reads what `_save_files` wrote."""


def load(folder: str | Path, *, trusted: Callable[[str], object] | None = None) -> Tokenizer:
    """The tokenizer saved in `folder`, whatever its class.

    Only classes of this package's public list are built: a folder cannot name code to run.

    Args:
        folder: what `save_pretrained` wrote.
        trusted: gives the class of a dotted path that the folder names, or raises where its code is not trusted; None
            trusts none but those of this package.

    Raises:
        FileNotFoundError: the folder holds no saved tokenizer.
        ValueError: it names a class that this package does not have, and which is not trusted or no tokenizer.
    """
    config = _read_config(Path(folder))
    name = config["tokenizer"]
    if MODULE in config and trusted is not None:
        own = trusted(f"{config[MODULE]}.{name}")
        if not (isinstance(own, type) and issubclass(own, Tokenizer)):
            raise ValueError(f"{folder} was saved by {config[MODULE]}.{name}, which is no tokenizer")
        return own.from_pretrained(folder)
    try:
        known = known_class(name)
    except ValueError as error:
        raise ValueError(f"{folder} was saved by {error}") from None
    return known.from_pretrained(folder)


def _module(kind: type[Tokenizer]) -> dict[str, str]:
    """Where the class of a tokenizer is defined, if not in this package."""
    ours = kind.__module__.split(".")[0] == __name__.split(".")[0]
    return {} if ours else {MODULE: kind.__module__}


def known_class(name: str) -> type[Tokenizer]:
    """The tokenizer of this package's public list that has this name.

    Raises:
        ValueError: there is none.
    """
    package = import_module("omniformer_tokenizers")
    known = getattr(package, name) if name in package.__all__ else None
    if not (isinstance(known, type) and issubclass(known, Tokenizer)):
        raise ValueError(f"{name!r}, which is not a tokenizer of omniformer_tokenizers")
    return known


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no saved tokenizer: {CONFIG_FILE} is missing")
    try:
        config = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict) or "tokenizer" not in config:
        raise ValueError(f"{path} does not name its tokenizer; expected a JSON object with the key 'tokenizer'")
    return config
