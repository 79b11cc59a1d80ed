"""Text with holes, and what belongs into them: the pretraining of T5."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from omniformer_tokenizers import Tokenizer, Tokens, framed
from torch import Tensor

from omniformer.batch import Sample
from omniformer.core.ranges import Count, SomeShare
from omniformer.data import spans
from omniformer.data.documents import encoded
from omniformer.data.random import generator
from omniformer.data.samples import Arrangement, Samples
from omniformer.data.source import Raw, Split


def sentinels(n: int) -> list[str]:
    """The names of the special tokens that stand for the first `n` holes of a text.

    Example:
        >>> sentinels(2)
        ['<|span_0|>', '<|span_1|>']
    """
    return [f"<|span_{i}|>" for i in range(n)]


class SpanCorruption(Arrangement):
    """Cuts documents into pieces, drops runs of tokens, and lets a model write what was dropped
    ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683), 3.1.4).

    ```
    text      the cat sat on the mat and slept
    piece     the <|span_0|> on the mat <|span_1|> slept
    answer    <start> <|span_0|> cat sat <|span_1|> and <stop>
    ```

    The tokenizer gives start and stop (end-of-text both), and has the sentinels among its special tokens
    (`conf/tokenizer/bpe_spans.yaml`). A document of more than `seq_len` tokens is cut into as few pieces as can be, of
    equal size up to one token; documents of less than two tokens are left out. Every epoch of training drops other
    runs; evaluation always the same ones, whatever the seed of the run.

    Args:
        seq_len: the longest piece before tokens are dropped.
        share: how many of its tokens are dropped, at least one.
        mean_span: tokens of a run on average.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> from omniformer_tokenizers import BPETokenizer
        >>> special = ("<|endoftext|>", *sentinels(4))
        >>> tokenizer = BPETokenizer(vocab_size=300, special_tokens=special).fit(["the cat sat"])
        >>> raws = [Raw(id="a", contents={"text": "the cat sat on the mat"})]
        >>> samples = SpanCorruption(seq_len=16)(raws, {"text": tokenizer}, name="x", seed=0, split="train")
        >>> sample = samples(0, 0)
        >>> len(sample.pieces), len(sample.answer)
        (1, 1)
    """

    def __init__(self, *, seq_len: Count, share: SomeShare = 0.15, mean_span: Count = 3) -> None:
        if seq_len < 2:
            raise ValueError(f"seq_len={seq_len} must be at least 2: a token to drop and one to see")
        spans.check(share=share, mean_span=mean_span)
        self.seq_len = seq_len
        self.share = share
        self.mean_span = mean_span

    def __call__(
        self, raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer], *, name: str, seed: int, split: Split
    ) -> Samples:
        """The pieces of one split.

        Raises:
            ValueError: the tokenizer is not one of text, has too few sentinels, or the split has no text.
            SampleError: a document cannot be encoded, and is not to be skipped.
        """
        if list(tokenizers) != ["text"]:
            raise ValueError(f"SpanCorruption cuts text; {name} has tokenizers for {sorted(tokenizers)}")
        tokenizer = tokenizers["text"]
        known = getattr(tokenizer, "special_tokens", None)
        if known is None or tokenizer.start is None or tokenizer.stop is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no special tokens, or no ids that begin and end a text, which "
                "SpanCorruption needs; use a BPETokenizer (tokenizer=bpe_spans)"
            )
        crops = _crops(raws, tokenizer, self.seq_len, name, self)
        longest = max(len(ids) for _, ids in crops)
        needed = max(spans.n_random_spans(n, share=self.share, mean_span=self.mean_span) for n in range(2, longest + 1))
        if missing := [each for each in sentinels(needed) if each not in known]:
            raise ValueError(
                f"a text of {longest} tokens has {needed} holes, and the tokenizer of {name} has no special token "
                f"{missing[0]!r}; add sentinels({needed}) to its special_tokens, or make seq_len smaller"
            )
        return CorruptedSpans(
            crops,
            [tokenizer.special_id(each) for each in sentinels(needed)],  # pyright: ignore[reportAttributeAccessIssue]
            self,
            start=tokenizer.start,
            stop=tokenizer.stop,
            name=name,
            seed=seed,
            train=split == "train",
        )


class CorruptedSpans(Samples):
    """Pieces of text with holes, and answers that fill them; made by `SpanCorruption`."""

    def __init__(
        self,
        crops: Sequence[tuple[str, Tensor]],
        holes: Sequence[int],
        how: SpanCorruption,
        *,
        start: int,
        stop: int,
        name: str,
        seed: int,
        train: bool,
    ) -> None:
        self.crops = crops
        self.holes = torch.tensor(holes)
        self.how = how
        self.start = start
        self.stop = stop
        self.name = name
        self.seed = seed
        self.train = train

    def __len__(self) -> int:
        return len(self.crops)

    def id(self, index: int) -> str:
        """The id of an example, without making it."""
        return self.crops[index][0]

    def length(self, index: int) -> int:
        """Tokens of an example and its answer, known without making it: every hole costs two, the frame two more."""
        n = len(self.crops[index][1])
        return n + 2 * spans.n_random_spans(n, share=self.how.share, mean_span=self.how.mean_span) + 2

    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it."""
        name, ids = self.crops[index]
        ids = ids.long()
        seed, epoch = (self.seed, epoch) if self.train else (0, 0)
        dropped = spans.random_spans(
            len(ids),
            share=self.how.share,
            mean_span=self.how.mean_span,
            generator=generator(seed, epoch, name, "spans"),
        )
        given, written, place = [], [], 0
        for hole, (begin, end) in zip(self.holes.split(1), dropped, strict=False):
            given += [ids[place:begin], hole]
            written += [hole, ids[begin:end]]
            place = end
        piece, answer = _text(torch.cat([*given, ids[place:]])), _text(torch.cat(written))
        return Sample(id=name, pieces=(piece,), answer=(framed(answer, start=self.start, stop=self.stop),))


def _text(ids: Tensor) -> Tokens:
    return Tokens(values=ids, positions=torch.arange(len(ids), dtype=torch.float32)[:, None], modality="text")


def _crops(
    raws: Sequence[Raw], tokenizer: Tokenizer, seq_len: int, name: str, how: Arrangement
) -> list[tuple[str, Tensor]]:
    """All documents as pieces of at most `seq_len` ids, each with its id."""
    crops = []
    for raw, ids in encoded(raws, tokenizer, name, how):
        n = -(-len(ids) // seq_len)
        edges = [i * len(ids) // n for i in range(n + 1)] if n else []
        for i, (begin, end) in enumerate(pairwise(edges)):
            if end - begin >= 2:
                crops.append((raw.id if n == 1 else f"{raw.id}/{i}", ids[begin:end].int()))
    if not crops:
        raise ValueError(f"{name} has no document of two or more tokens in this split; there is nothing to drop")
    return crops
