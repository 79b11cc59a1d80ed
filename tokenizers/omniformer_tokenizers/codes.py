"""Vectors as ids and back: patches of pictures and frames of sounds become tokens that a model can write."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers._clustering import k_means, nearest
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokenizer import Tokenizer, known_class
from omniformer_tokenizers.tokens import Tokens

CODES_FILE = "codes.safetensors"
_WRITTEN = {"vision": "pixels", "audio": "samples"}


class CodedTokenizer(Tokenizer):
    """A tokenizer of vectors whose vectors are told by ids: what those who choose the ids have in common.

    One vector is `n_stages` ids, one behind the other. On several axes, as of pictures, the stage is an axis of its
    own; on one, as of sounds, ids are counted through.

    Args:
        tokenizer: makes the vectors, and brings raw samples back from them: `PatchTokenizer`, `WaveformTokenizer`.
        max_vectors: used for fitting, spread evenly over all samples.

    Raises:
        ValueError: the tokenizer makes ids already, or a number is not positive.
    """

    def __init__(self, *, tokenizer: Tokenizer, max_vectors: Count = 100_000) -> None:
        at_least(1, max_vectors=max_vectors)
        if "features" not in tokenizer.facts or "vocab_size" in tokenizer.facts:
            raise ValueError(f"codes stand for vectors; {type(tokenizer).__name__} makes ids")
        self.tokenizer, self.max_vectors = tokenizer, max_vectors
        self.modality = _WRITTEN.get(tokenizer.modality, tokenizer.modality)  # pyright: ignore[reportAttributeAccessIssue]
        self.found: dict[str, Tensor] = {}

    @property
    @abstractmethod
    def n_stages(self) -> int:
        """Ids of one vector."""

    @property
    @abstractmethod
    def n_ids(self) -> int:
        """Ids of all stages together."""

    @abstractmethod
    def learn(self, vectors: Tensor) -> dict[str, Tensor]:
        """What `encode` and `rebuild` need, from vectors `[n, features]`."""

    @abstractmethod
    def encode(self, vectors: Tensor) -> Tensor:
        """Vectors `[n, features]` as ids int64 `[n, n_stages]`."""

    @abstractmethod
    def rebuild(self, ids: Tensor) -> Tensor:
        """Ids `[n, n_stages]` as vectors `[n, features]`; -1 for one that is not there."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size`, the ids and `start`, and the number of position `axes`."""
        axes = self.tokenizer.facts["axes"]
        return {"vocab_size": self.n_ids + 1, "axes": axes if axes == 1 else axes + 1}

    @property
    def start(self) -> int:
        """The id from which a model begins to write, the one behind all others."""
        return self.n_ids

    @property
    def fitted(self) -> bool:
        """Whether it has seen data."""
        return bool(self.found) and self.tokenizer.fitted

    def __getattr__(self, name: str) -> Any:
        # How large pictures are, and at what rate sounds are read: said where the tokenizer inside says it.
        if name in ("image_size", "channels", "sample_rate"):
            return getattr(self.tokenizer, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def fit(self, raws: Iterable[Any]) -> Self:
        """Learns from the vectors of raw samples; keeps at most `max_vectors` in memory, plus those of one sample.

        Raises:
            ValueError: there is not a single vector.
        """
        if not self.tokenizer.fitted:
            raws = list(raws)
            self.tokenizer.fit(raws)
        kept, step = torch.zeros(0, self.tokenizer.facts["features"]), 1
        for raw in raws:
            kept = torch.cat([kept, self.tokenizer(raw).values[::step]])
            # Every second one goes when there are too many, and of the samples to come as well.
            while len(kept) > self.max_vectors:
                kept, step = kept[::2], step * 2
        if not len(kept):
            raise ValueError("fit() received no vectors; pass at least one sample")
        self.found = self.learn(kept)
        return self

    def __call__(self, raw: Any) -> Tokens:
        """The ids of one sample; errors as of the tokenizer inside.

        Shapes:
            values int64 `[vectors * n_stages]`, positions `[vectors * n_stages, axes]`.
        """
        self._check()
        tokens, n = self.tokenizer(raw), self.n_stages
        stage = torch.arange(float(n)).repeat(len(tokens))[:, None]
        places = tokens.positions.repeat_interleave(n, dim=0)
        places = places * n + stage if places.shape[1] == 1 else torch.cat([places, stage], dim=1)
        values = self.encode(tokens.values).flatten()
        return replace(tokens, values=values, positions=places, features={}, modality=self.modality)

    def decode(self, tokens: Tokens) -> Any:
        """The raw sample that the ids stand for. Of a last vector of which ids are missing, those that are there count.

        Raises:
            TypeError: the tokenizer inside has no inverse.
        """
        self._check()
        n, ids = self.n_stages, tokens.values
        ids = torch.cat([ids, ids.new_full((-len(ids) % n,), -1)]).view(-1, n)
        places = tokens.positions[::n]
        places = (places / n).floor() if places.shape[1] == 1 else places[:, :-1]
        facts = dict(tokens.facts)
        if "samples" not in facts and self.modality == "samples":  # of a sound that was written, all of it
            facts["samples"] = torch.tensor(len(ids) * self.tokenizer.facts["features"])
        inside = {"values": self.rebuild(ids), "positions": places, "facts": facts}
        return self.tokenizer.decode(replace(tokens, **inside, modality=self.tokenizer.modality))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, and the tokenizer inside: its class and its arguments."""
        inside = {"tokenizer": type(self.tokenizer).__name__, **self.tokenizer.config()}
        return {"inside": inside, "max_vectors": self.max_vectors, **self.own_config()}

    @abstractmethod
    def own_config(self) -> dict[str, Any]:
        """The arguments that its class has beside these."""

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        own = dict(config)
        inside = dict(own.pop("inside"))
        return cls(tokenizer=known_class(inside.pop("tokenizer"))._from_config(inside), **own)

    def _check(self) -> None:
        if not self.found:
            raise ValueError(f"{type(self).__name__} has no codes yet; call fit(samples) or load one")

    def _save_files(self, folder: Path) -> None:
        self.tokenizer._save_files(folder)
        if self.found:
            save_file({name: each.contiguous() for name, each in self.found.items()}, folder / CODES_FILE)

    def _load_files(self, folder: Path) -> None:
        self.tokenizer._load_files(folder)
        path = folder / CODES_FILE
        try:
            found = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} does not hold codes: {error}") from error
        expected = self._expected
        shapes = {name: (each.dtype, tuple(each.shape)) for name, each in found.items()}
        if shapes != {name: (torch.float32, shape) for name, shape in expected.items()}:
            raise ValueError(f"{path} holds {shapes}; expected float32 of the shapes {expected}")
        self.found = found

    @property
    @abstractmethod
    def _expected(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what fitting finds."""


class ResidualCodebooks(CodedTokenizer):
    """Each vector as the nearest entry of a codebook, and what that leaves as the nearest of the next one (residual
    vector quantization, Zeghidour et al. 2021, SoundStream, 3.3), each fitted by k-means to what the stages before it
    leave. The ids of a stage lie behind those of the stage before it.

    There is no learned encoder: the vectors are patches or frames themselves.

    Args:
        tokenizer: makes the vectors; see `CodedTokenizer`.
        n_stages: codebooks, and so ids of one vector.
        n_entries: of each codebook.
        iterations: rounds of k-means.
        max_vectors: used for fitting.

    Raises:
        ValueError: as for `CodedTokenizer`.

    Example:
        >>> from omniformer_tokenizers import PatchTokenizer
        >>> pictures = [torch.rand(3, 16, 16) for _ in range(4)]
        >>> patches = PatchTokenizer(patch_size=4, image_size=(16, 16))
        >>> tokenizer = ResidualCodebooks(tokenizer=patches, n_stages=2, n_entries=8).fit(pictures)
        >>> tokens = tokenizer(pictures[0])
        >>> tokens.values.shape, tokenizer.decode(tokens).shape
        (torch.Size([32]), torch.Size([3, 16, 16]))
    """

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        n_stages: Count = 4,
        n_entries: Count = 256,
        iterations: Count = 20,
        max_vectors: Count = 100_000,
    ) -> None:
        at_least(1, n_stages=n_stages, n_entries=n_entries, iterations=iterations)
        super().__init__(tokenizer=tokenizer, max_vectors=max_vectors)
        self._n_stages, self.n_entries, self.iterations = n_stages, n_entries, iterations

    @property
    def n_stages(self) -> int:
        """Ids of one vector."""
        return self._n_stages

    @property
    def n_ids(self) -> int:
        """Entries of all codebooks."""
        return self.n_stages * self.n_entries

    def learn(self, vectors: Tensor) -> dict[str, Tensor]:
        """The codebooks, one fitted to what those before it leave."""
        books, left = [], vectors
        for _ in range(self.n_stages):
            book = k_means(left, self.n_entries, self.iterations)
            books.append(book)
            left = left - book[nearest(left, book)]
        return {"books": torch.stack(books)}

    def encode(self, vectors: Tensor) -> Tensor:
        """The nearest entry of each stage."""
        ids, left = [], vectors
        for stage, book in enumerate(self.found["books"]):
            entry = nearest(left, book)
            ids.append(entry + stage * self.n_entries)
            left = left - book[entry]
        return torch.stack(ids, dim=1)

    def rebuild(self, ids: Tensor) -> Tensor:
        """The sum of the entries, of whichever stage each is."""
        entries = self.found["books"].flatten(0, 1)
        return (entries[ids.clamp(min=0)] * (ids >= 0)[..., None]).sum(1)

    def own_config(self) -> dict[str, Any]:
        """Codebooks, their entries and rounds."""
        return {"n_stages": self.n_stages, "n_entries": self.n_entries, "iterations": self.iterations}

    @property
    def _expected(self) -> dict[str, tuple[int, ...]]:
        return {"books": (self.n_stages, self.n_entries, self.tokenizer.facts["features"])}


class FiniteScalarTokenizer(CodedTokenizer):
    """Each vector as one id, by rounding a few numbers of it (finite-scalar quantization, Mentzer et al. 2023, 3.1): a
    number with L levels is brought between 0 and 1 and falls into one of L equal parts; the id counts all combinations.
    No entry is ever unused for want of training.

    The paper's numbers come out of a learned encoder; these are the vector's coordinates along the principal axes of
    the training vectors, each in parts of its deviation, and are brought between 0 and 1 so that the parts are equally
    frequent where it is normally distributed.

    Args:
        tokenizer: makes the vectors; see `CodedTokenizer`.
        levels: of each number, those along the widest axes first; the paper's for about a thousand ids.
        max_vectors: used for fitting.

    Raises:
        ValueError: as for `CodedTokenizer`; a number has fewer than two levels, or there are more than features.

    Example:
        >>> from omniformer_tokenizers import WaveformTokenizer
        >>> sounds = [torch.randn(400) for _ in range(4)]
        >>> frames = WaveformTokenizer(sample_rate=8000, frame_length=10)
        >>> tokenizer = FiniteScalarTokenizer(tokenizer=frames, levels=[8, 5, 5, 5]).fit(sounds)
        >>> tokens = tokenizer(sounds[0])
        >>> tokens.values.shape, tokenizer.facts["vocab_size"], tokenizer.decode(tokens).shape
        (torch.Size([40]), 1001, torch.Size([400]))
    """

    def __init__(
        self, *, tokenizer: Tokenizer, levels: Sequence[Count] = (8, 5, 5, 5), max_vectors: Count = 100_000
    ) -> None:
        super().__init__(tokenizer=tokenizer, max_vectors=max_vectors)
        if not levels or min(levels) < 2:
            raise ValueError(f"levels={list(levels)} must be at least one number, each at least 2")
        if len(levels) > (n := tokenizer.facts["features"]):
            raise ValueError(f"levels={list(levels)} are of {len(levels)} numbers, a vector has {n}; give no more")
        self.levels = tuple(levels)

    @property
    def n_stages(self) -> int:
        """One id a vector."""
        return 1

    @property
    def n_ids(self) -> int:
        """All combinations of levels."""
        return int(torch.tensor(self.levels).prod())

    def learn(self, vectors: Tensor) -> dict[str, Tensor]:
        """The mean, and the principal axes in parts of the deviation along each."""
        mean = vectors.double().mean(0)
        variance, axes = torch.linalg.eigh((vectors.double() - mean).T.cov(correction=0).reshape(len(mean), len(mean)))
        n = len(self.levels)
        axes = axes[:, -n:].flip(1).T
        # The sign of an axis is nobody's to choose: its largest number is positive.
        axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        deviation = variance[-n:].flip(0).clamp(min=1e-12).sqrt()
        return {"mean": mean.float(), "axes": axes.float().contiguous(), "deviation": deviation.float()}

    def encode(self, vectors: Tensor) -> Tensor:
        """The part that each number falls into, all of them as one id."""
        numbers = (vectors - self.found["mean"]) @ self.found["axes"].T / self.found["deviation"]
        levels = torch.tensor(self.levels)
        parts = (torch.special.ndtr(numbers) * levels).floor().long().clamp(min=0).minimum(levels - 1)
        return (parts * self._weights).sum(1, keepdim=True)

    def rebuild(self, ids: Tensor) -> Tensor:
        """The vector in the middle of each part, with the mean for all that no axis says."""
        parts = ids.clamp(min=0) // self._weights % torch.tensor(self.levels)
        numbers = torch.special.ndtri((parts + 0.5) / torch.tensor(self.levels))
        vectors = numbers * self.found["deviation"] @ self.found["axes"]
        return vectors * (ids >= 0) + self.found["mean"]

    def own_config(self) -> dict[str, Any]:
        """The levels."""
        return {"levels": list(self.levels)}

    @property
    def _weights(self) -> Tensor:
        """How much one level of each number counts in an id."""
        return torch.tensor([1, *self.levels[:-1]]).cumprod(0)

    @property
    def _expected(self) -> dict[str, tuple[int, ...]]:
        n, features = len(self.levels), self.tokenizer.facts["features"]
        return {"axes": (n, features), "deviation": (n,), "mean": (features,)}
