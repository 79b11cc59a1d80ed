"""Class tokens: tokens without content in front of an image or a sound, in which a model gathers its answer."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.tokenizer import Tokenizer, known_class
from omniformer_tokenizers.tokens import Tokens

FEATURE = "class_token"


class ClassTokens(Tokenizer):
    """Any tokenizer of vectors, with class tokens in front of what it makes: one as in ViT (Dosovitskiy et al. 2021),
    two as in DeiT and AST (Touvron et al. 2021, Gong et al. 2021).

    Values and positions of a class token are zero; the feature `class_token` numbers them from 1 and is 0 for all
    others. A sample without tokens stays without: a missing picture is no picture.

    Args:
        tokenizer: makes the other tokens: patches, frames, pieces of a waveform.
        n: class tokens of each sample.

    Raises:
        ValueError: `n` is below 1, or the tokenizer makes ids, which have special tokens of their own; when called, its
            tokens have edges or values of pairs (see `GraphTokenizer(virtual_node=True)`).

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import PatchTokenizer
        >>> tokens = ClassTokens(tokenizer=PatchTokenizer(patch_size=4))(torch.zeros(3, 8, 8))
        >>> tokens.features["class_token"].tolist()
        [1, 0, 0, 0, 0]
    """

    def __init__(self, *, tokenizer: Tokenizer, n: int = 1) -> None:
        at_least(1, n=n)
        if "features" not in tokenizer.facts or "vocab_size" in tokenizer.facts:
            raise ValueError(
                f"class tokens stand before vectors; {type(tokenizer).__name__} makes ids, which have special tokens"
            )
        self.tokenizer, self.n = tokenizer, n
        self.modality = tokenizer.modality  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Those of the tokenizer inside, and `n_class_tokens`."""
        return {**self.tokenizer.facts, "n_class_tokens": self.n}

    @property
    def fitted(self) -> bool:
        """Whether the tokenizer inside is ready."""
        return self.tokenizer.fitted

    def fit(self, raws: Iterable[Any]) -> Self:
        """Fits the tokenizer inside."""
        self.tokenizer.fit(raws)
        return self

    def __call__(self, raw: Any) -> Tokens:
        """The tokens of one sample, class tokens first; errors as of the tokenizer inside."""
        return self._with_class_tokens(self.tokenizer(raw))

    @property
    def stack_shape(self) -> tuple[int | None, ...] | None:
        """That of the tokenizer inside."""
        return self.tokenizer.stack_shape

    def stackable(self, raw: Any) -> Tensor:
        """A raw sample as the tokenizer inside takes it."""
        return self.tokenizer.stackable(raw)

    def of_stack(self, raws: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The tokens of stacked samples, class tokens first."""
        values, positions, features = self.tokenizer.of_stack(raws)
        number = torch.arange(1, self.n + 1).expand(values.shape[0], -1)
        features = {name: functional.pad(rows, (self.n, 0)) for name, rows in features.items()}
        features[FEATURE] = functional.pad(number, (0, values.shape[1]))
        ahead = (0, 0, self.n, 0)
        return functional.pad(values, ahead), functional.pad(positions, ahead), features

    def encode_batch(self, raws: Iterable[Any]) -> list[Tokens]:
        """The tokens of many samples."""
        return [self._with_class_tokens(tokens) for tokens in self.tokenizer.encode_batch(raws)]

    def decode(self, tokens: Tokens, **options: Any) -> Any:
        """What the tokenizer inside makes of the tokens, with class tokens or without.

        Args:
            tokens: what this tokenizer made, or a model's version of it.
            options: of the tokenizer inside.
        """
        number = tokens.features.get(FEATURE)
        if number is None:
            return self.tokenizer.decode(tokens, **options)
        others = number == 0
        features = {name: rows[others] for name, rows in tokens.features.items() if name != FEATURE}
        bare = replace(tokens, values=tokens.values[others], positions=tokens.positions[others], features=features)
        return self.tokenizer.decode(bare, **options)

    def config(self) -> dict[str, Any]:
        """The number, and the tokenizer inside: its class and its arguments."""
        return {"n": self.n, "inside": {"tokenizer": type(self.tokenizer).__name__, **self.tokenizer.config()}}

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        inside = dict(config["inside"])
        return cls(tokenizer=known_class(inside.pop("tokenizer"))._from_config(inside), n=config["n"])

    def _save_files(self, folder: Any) -> None:
        self.tokenizer._save_files(folder)

    def _load_files(self, folder: Any) -> None:
        self.tokenizer._load_files(folder)

    def _with_class_tokens(self, tokens: Tokens) -> Tokens:
        if tokens.edges is not None or tokens.pairs:
            raise ValueError(
                f"{tokens.modality}: class tokens have no edges and no values of pairs; for graphs use "
                "GraphTokenizer(virtual_node=True)"
            )
        n = self.n if len(tokens) else 0
        number = torch.cat([torch.arange(1, n + 1), torch.zeros(len(tokens), dtype=torch.int64)])
        return replace(
            tokens,
            values=_after(n, tokens.values),
            positions=_after(n, tokens.positions),
            features={name: _after(n, rows) for name, rows in tokens.features.items()} | {FEATURE: number},
        )


def _after(n: int, rows: Tensor) -> Tensor:
    """The rows behind n rows of zeros."""
    return torch.cat([rows.new_zeros(n, *rows.shape[1:]), rows])
