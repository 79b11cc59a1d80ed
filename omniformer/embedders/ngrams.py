"""Words as their id and the stretches of letters that they are spelled with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.ranges import BelowOne, Count
from omniformer.embedders.ids import IdEmbedder
from omniformer.embedders.reads import Reads

_LETTERS = "letters"
_BYTES = 256
_PRIME, _FACTOR = 2_147_483_647, 8191  # of a rolling hash that stays far below 2^63
NONE = 0  # where a stretch would reach beyond its word


class NGramEmbedder(IdEmbedder):
    """An `IdEmbedder` whose vectors are joined by those of all stretches of some letters (character n-grams) of a word,
    from a table into which they are hashed ([Bojanowski et al. 2016](https://arxiv.org/abs/1607.04606), 3.2, fastText;
    hashes of characters also in [Clark et al. 2021](https://arxiv.org/abs/2103.06874), CANINE): with few texts most
    words are rare, and their letters are not.

    The vectors of a word's stretches are added up and divided by the root of their number, so that long words are as
    large as short ones. Tokens come with the feature `letters` of `omniformer_tokenizers.SpelledWordTokenizer`.

    Args:
        d_model: width of the core.
        vocab_size: number of ids.
        letters: bytes that spell a token, as the tokenizer says.
        ngrams: how many letters a stretch has, the marks of begin and end counted: each of these numbers; 3 to 5 as the
            best of fastText's trials do nearly as well as its 3 to 6, for three quarters of the work.
        buckets: rows of the table; stretches of equal hash share one. 20,000 are about as many as the different
            stretches of 4,000 words.
        word_dropout: share of tokens whose id's vector is left out in training, so that letters must do alone, as they
            must for words that were never seen.
        ngram_dropout: share of the vectors that make a word, its id's and its stretches', that are left out whole in
            training; those that stay are scaled, so that their mean stays. So no single word or stretch may decide,
            and all of them learn ([Iyyer et al. 2015](https://aclanthology.org/P15-1162), 4, of whole words).
        **options: others of `IdEmbedder`.

    Raises:
        ValueError: a number is out of range, or no stretch fits into a word; at use, tokens without `letters`.

    Shapes:
        values int64 `[tokens]`, feature `letters` uint8 `[tokens, letters]` → `[tokens, d_model]`.

    Example:
        >>> from omniformer_tokenizers import SpelledWordTokenizer, pack
        >>> tokenizer = SpelledWordTokenizer().fit(["the cat sat"])
        >>> embedder = NGramEmbedder(d_model=8, **tokenizer.facts)
        >>> embedder(pack([tokenizer("the cats")])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        vocab_size: Count,
        letters: Count,
        ngrams: Sequence[Count] = (3, 4, 5),
        buckets: Count = 20_000,
        word_dropout: BelowOne = 0.0,
        ngram_dropout: BelowOne = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(d_model=d_model, vocab_size=vocab_size, **options)
        checks.counts(letters=letters, buckets=buckets, **{f"ngrams[{i}]": n for i, n in enumerate(ngrams)})
        checks.below_one(word_dropout=word_dropout, ngram_dropout=ngram_dropout)
        if not ngrams or max(ngrams) > letters:
            raise ValueError(f"ngrams={list(ngrams)} must be numbers of letters, of the {letters} of a word at most")
        self.letters, self.ngrams = letters, tuple(ngrams)
        self.word_dropout, self.ngram_dropout = word_dropout, ngram_dropout
        self.stretches = nn.Embedding(buckets + 1, d_model, padding_idx=NONE)
        self.reset_parameters()

    def vectors(self, packed: Packed) -> Tensor:
        """The vectors of ids and of stretches together."""
        if _LETTERS not in packed.features:
            raise ValueError(
                f"tokens of modality {packed.modality!r} have no feature {_LETTERS!r}, which this embedder reads; use "
                "tokenizer=spelled_words, or embedder=ids"
            )
        words = super().vectors(packed)
        if self.training and self.word_dropout:
            # No scale for those that stay, as for hidden tokens: a token has its word or has it not.
            words = words * (torch.rand(len(words), 1, device=words.device) >= self.word_dropout)
        rows = self.rows(packed.features[_LETTERS])
        n = (rows != NONE).sum(1, keepdim=True).clamp(min=1)
        scale = self.scale * n.to(words.dtype).rsqrt()
        if self.training and self.ngram_dropout:
            words, rows = words * self._kept(words[:, :1]), rows.masked_fill(~self._kept(rows), NONE)
            words, scale = words / (1 - self.ngram_dropout), scale / (1 - self.ngram_dropout)
        return words + self.stretches(rows).sum(1) * scale

    def _kept(self, vectors: Tensor) -> Tensor:
        """Which vectors are not left out, one for each entry."""
        return torch.rand(vectors.shape, device=vectors.device) >= self.ngram_dropout

    def rows(self, letters: Tensor) -> Tensor:
        """The row of the table for each stretch, 0 where there is none.

        Shapes:
            letters `[tokens, letters]` → int64 `[tokens, stretches]`.
        """
        letters = letters.long()
        found = []
        for n in self.ngrams:
            windows = letters.unfold(1, n, 1)
            hashed = torch.full_like(windows[..., 0], n)
            for i in range(n):
                hashed = (hashed * _FACTOR + windows[..., i]) % _PRIME
            # Only the last byte need be looked at: zeros stand behind all others.
            found.append(torch.where(windows[..., -1] > 0, hashed % (self.stretches.num_embeddings - 1) + 1, NONE))
        return torch.cat(found, 1)

    @property
    def reads(self) -> Reads:
        """Ids, segments where it tells them apart, and letters."""
        known = super().reads
        features = {**known.features, _LETTERS: _BYTES}
        return replace(known, features=features, widths={_LETTERS: self.letters})

    def reset_parameters(self) -> None:
        """Draws the tables anew."""
        super().reset_parameters()
        if "stretches" in self._modules:  # the one of ids is drawn first, before there is another
            nn.init.normal_(self.stretches.weight, std=self.init_std)
            with torch.no_grad():
                self.stretches.weight[NONE].zero_()
