"""Blocks of running text for language models: documents end to end, cut so that every token is predicted once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, cast

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.batch import Sample
from omniformer.core.ranges import Count
from omniformer.data.corpus import EncodedTexts
from omniformer.data.documents import encoded
from omniformer.data.random import generator
from omniformer.data.ring import Ring
from omniformer.data.samples import Arrangement, Samples
from omniformer.data.source import Raw, Split


class Blocks(Arrangement):
    """Joins documents by end-of-text tokens and cuts blocks of `seq_len` tokens, as for GPT-2 (Radford et al. 2019).

    The documents lie on a ring, each behind an end-of-text token. A block begins with one token of context and goes
    on with the tokens to be predicted, so neighbouring blocks overlap:

    ```
    <eot> a1 a2 a3 <eot> b1 b2 (and round again)      seq_len=4, stride=3
    <eot  a1 a2 a3>
               <a3 <eot> b1 b2>
                          ...<b2 <eot>>               the last one closes the ring
    ```

    Every token of every document is predicted exactly once an epoch, the first one from the end-of-text before it.
    End-of-text is predicted too: a model must know where to stop. It stands for no bytes, so bits per byte are never
    flattered. In training the ring is cut at another point each epoch.

    Args:
        seq_len: tokens of a block, context included.
        stride: how many tokens of a block are predicted in evaluation; the rest are context. None predicts all but the
            first, which costs least; less gives each token a longer past. Training always predicts all but the first.

    Raises:
        ValueError: `seq_len` is below 2, or `stride` not in 1..seq_len-1.

    Example:
        >>> Blocks(seq_len=4).stride
        3
    """

    counts_bytes = True

    def __init__(self, *, seq_len: Count, stride: Count | None = None) -> None:
        if seq_len < 2:
            raise ValueError(f"seq_len={seq_len} must be at least 2: one token of context and one to predict")
        if stride is not None and not 1 <= stride < seq_len:
            raise ValueError(f"stride={stride} must be in 1..{seq_len - 1} (below seq_len={seq_len}), or null")
        self.seq_len = seq_len
        self.stride = stride or seq_len - 1

    def __call__(
        self, raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer], *, name: str, seed: int, split: Split
    ) -> Samples:
        """The blocks of one split.

        Raises:
            ValueError: the tokenizer has no end-of-text token or cannot say how many bytes a token stands for, or the
                split is empty.
            SampleError: a document cannot be encoded, and is not to be skipped.
        """
        if not raws:
            raise ValueError(f"{name} has no documents in this split; a language model needs at least one")
        tokenizer = _text_tokenizer(tokenizers, name)
        ring = raws.ring(tokenizers["text"]) if isinstance(raws, EncodedTexts) else _ring(raws, tokenizer, name, self)
        token_bytes = torch.tensor(_sizes(tokenizer))
        return TextBlocks(
            ring,
            token_bytes,
            seq_len=self.seq_len,
            stride=self.seq_len - 1 if split == "train" else self.stride,
            name=name,
            seed=seed,
            train=split == "train",
        )


class TextBlocks(Samples):
    """The blocks of one ring of tokens; made by `Blocks`.

    A sample has the piece `text`; `token_targets["mask"]`, True for each token that is to be predicted from those
    before it; and `targets["bytes"]`, the number of bytes that those tokens stand for.
    """

    def __init__(
        self, ring: Ring, token_bytes: Tensor, *, seq_len: int, stride: int, name: str, seed: int, train: bool
    ) -> None:
        self.ring = ring
        self.token_bytes = token_bytes
        self.seq_len = seq_len
        self.stride = stride
        self.name = name
        self.seed = seed
        self.train = train

    def __len__(self) -> int:
        return -(-len(self.ring) // self.stride)

    def id(self, index: int) -> str:
        """The id of an example, without making it."""
        return f"{self.name}/{'train' if self.train else 'eval'}-block-{index}"

    def length(self, index: int) -> int:
        """Tokens of a block, known without making it."""
        return self._context(index) + self._predicted(index)

    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it."""
        predicted, context = self._predicted(index), self._context(index)
        first = 1 + index * self.stride + self._phase(epoch)
        values = self.ring.cut(first - context, context + predicted)
        mask = torch.arange(len(values)) >= context
        piece = Tokens(
            values=values, positions=torch.arange(len(values), dtype=torch.float32).unsqueeze(1), modality="text"
        )
        return Sample(
            id=self.id(index),
            pieces=(piece,),
            targets={"bytes": self.token_bytes[values[mask]].sum()},
            token_targets={"mask": mask},
        )

    def _predicted(self, index: int) -> int:
        return min(self.stride, len(self.ring) - index * self.stride)

    def _context(self, index: int) -> int:
        """Tokens before the predicted ones: as many as fit, but not from before the beginning of the text."""
        room = self.seq_len - self.stride
        return room if self.train else min(room, 1 + index * self.stride)

    def _phase(self, epoch: int) -> int:
        if not self.train:
            return 0
        return int(torch.randint(len(self.ring), (), generator=generator(self.seed, epoch, self.name, "phase")))


class TextTokenizer(Protocol):
    """What `Blocks` asks of a tokenizer: ids, the bytes they stand for, and an end-of-text id.

    Published vocabularies whose pieces are no bytes have `token_sizes` in the place of `token_bytes`.
    """

    @property
    def end_of_text(self) -> int:
        """The id that ends a document; no text produces it."""
        ...

    @property
    def token_bytes(self) -> Sequence[bytes]:
        """The bytes that each id stands for."""
        ...

    def __call__(self, raw: str) -> Tokens:
        """The tokens of one text."""
        ...

    def encode_batch(self, raws: Iterable[str]) -> list[Tokens]:
        """The tokens of many texts."""
        ...


def _text_tokenizer(tokenizers: Mapping[str, Tokenizer], name: str) -> TextTokenizer:
    if list(tokenizers) != ["text"]:
        raise ValueError(f"Blocks cuts text; {name} has tokenizers for {sorted(tokenizers)}")
    tokenizer = tokenizers["text"]
    sized = hasattr(tokenizer, "token_bytes") or hasattr(tokenizer, "token_sizes")
    if not hasattr(tokenizer, "end_of_text") or not sized:
        raise ValueError(
            f"{type(tokenizer).__name__} has no end_of_text or token_bytes, which Blocks needs; use a text tokenizer"
        )
    return cast(TextTokenizer, tokenizer)


def _sizes(tokenizer: TextTokenizer) -> Sequence[int]:
    """How many bytes each id stands for."""
    sizes: Sequence[int] | None = getattr(tokenizer, "token_sizes", None)
    return [len(piece) for piece in tokenizer.token_bytes] if sizes is None else sizes


def _ring(raws: Sequence[Raw], tokenizer: TextTokenizer, name: str, how: Arrangement) -> Ring:
    """All documents as token ids, each behind an end-of-text token."""
    documents = [ids for _, ids in encoded(raws, tokenizer, name, how)]
    if not documents:
        raise ValueError(f"{name} has no document in this split that can be read; a language model needs at least one")
    return Ring.of(documents, tokenizer.end_of_text)
