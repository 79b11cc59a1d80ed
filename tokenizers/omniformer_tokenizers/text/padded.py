"""Texts of one length, for models that were trained on padding which they see."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, Self

from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least, one_of
from omniformer_tokenizers.text.base import TextTokenizer, text_tokens
from omniformer_tokenizers.tokenizer import known_class
from omniformer_tokenizers.tokens import Tokens


class PaddedTokenizer(TextTokenizer):
    """Any text tokenizer, with padding up to one length, as SigLIP was trained
    ([Zhai et al. 2023](https://arxiv.org/abs/2303.15343), their published code): its tower of texts reads the last
    place, whatever stands there. Elsewhere texts need no padding here.

    A longer text keeps its length: who reads it cuts it, and says so. One without any token stays without.

    Args:
        tokenizer: makes the tokens.
        length: tokens of each text; 64 as in SigLIP.
        pad: the id of the others.
        side: of the text on which they stand.

    Raises:
        ValueError: `length` is below 1, or `pad` is not an id of the tokenizer.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> PaddedTokenizer(tokenizer=ByteTokenizer(), length=4, pad=0)("ab").values.tolist()
        [97, 98, 0, 0]
    """

    def __init__(
        self, *, tokenizer: TextTokenizer, length: int = 64, pad: int = 0, side: Literal["left", "right"] = "right"
    ) -> None:
        at_least(1, length=length)
        one_of(("left", "right"), side=side)
        if pad < 0 or (tokenizer.fitted and pad >= tokenizer.vocab_size):
            raise ValueError(f"pad={pad} is no id of a vocabulary of {tokenizer.vocab_size} ids")
        self.tokenizer, self.length, self.pad, self.side = tokenizer, length, pad, side

    @property
    def vocab_size(self) -> int:
        """That of the tokenizer inside."""
        return self.tokenizer.vocab_size

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Those of the tokenizer inside."""
        return self.tokenizer.special_tokens  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def end_of_text(self) -> int:
        """That of the tokenizer inside."""
        return self.tokenizer.end_of_text

    @property
    def fitted(self) -> bool:
        """Whether the tokenizer inside is ready."""
        return self.tokenizer.fitted

    def fit(self, raws: Iterable[str]) -> Self:
        """Fits the tokenizer inside."""
        self.tokenizer.fit(raws)
        return self

    def __call__(self, raw: Any) -> Tokens:
        """The tokens of one text; errors as of the tokenizer inside."""
        return self._padded(self.tokenizer(raw))

    def encode_batch(self, raws: Iterable[Any]) -> list[Tokens]:
        """The tokens of many texts."""
        return [self._padded(tokens) for tokens in self.tokenizer.encode_batch(raws)]

    def decode(self, tokens: Tokens | Tensor | Iterable[int]) -> str:
        """The text of tokens or ids, padding left out."""
        ids = tokens.values if isinstance(tokens, Tokens) else tokens
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if self.side == "left":
            ids = ids[::-1]
        while ids and ids[-1] == self.pad:
            ids.pop()
        inside: Any = self.tokenizer
        return inside.decode(ids if self.side == "right" else ids[::-1])

    def config(self) -> dict[str, Any]:
        """How texts are padded, and the tokenizer inside: its class and its arguments."""
        inside = {"tokenizer": type(self.tokenizer).__name__, **self.tokenizer.config()}
        return {"length": self.length, "pad": self.pad, "side": self.side, "inside": inside}

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> Self:
        options = dict(config)
        inside = dict(options.pop("inside"))
        kind: Any = known_class(inside.pop("tokenizer"))
        return cls(tokenizer=kind._from_config(inside), **options)

    def _special_id(self, name: str) -> int:
        return self.tokenizer.special_id(name)

    def _save_files(self, folder: Any) -> None:
        self.tokenizer._save_files(folder)

    def _load_files(self, folder: Any) -> None:
        self.tokenizer._load_files(folder)

    def _padded(self, tokens: Tokens) -> Tokens:
        n = self.length - len(tokens)
        if n <= 0 or not len(tokens):
            return tokens
        around = (n, 0) if self.side == "left" else (0, n)
        features = {name: functional.pad(each, around) for name, each in tokens.features.items()}
        values = functional.pad(tokens.values, around, value=self.pad)
        return replace(text_tokens(values, tokens.modality), features=features)
