"""Finding hidden tokens of texts: the words that may stand in a hole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import BPETokenizer, Tokenizer, Tokens
from omniformer_tokenizers.files import read_text
from torch import Tensor

from omniformer.batch import Sample
from omniformer.generation.answer import head_making
from omniformer.inputs import batch_of, tokens_of
from omniformer.model import OmniFormer

# What published vocabularies call the token that stands for a hidden one: BERT, RoBERTa.
_MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """What may stand in one hole of a text.

    Args:
        token: its place among the tokens of the text.
        probabilities: by what an id says, the best first; ids that say the same count together.
    """

    token: int
    probabilities: Mapping[str, float]


class Filler:
    """One task of a model that was trained to find hidden tokens of text ([Devlin et al.
    2018](https://arxiv.org/abs/1810.04805), 3.1).

    A hole is written `[MASK]`, or as the vocabulary calls it (`<mask>` in RoBERTa's). A vocabulary with such a token
    gives its id; a model whose embedder is `Maskable` reads the hole as a hidden token.

    Args:
        model: in evaluation mode.
        head: the name of a head that scores ids, such as `NextTokenHead`.
        tokenizers: by modality; texts of the head's own are read.

    Raises:
        ValueError: the head's tokens are no text, or the model knows no hidden ones.

    Example:
        >>> from omniformer_tokenizers import CharacterTokenizer
        >>> from omniformer.core import Transformer
        >>> from omniformer.embedders import IdEmbedder, Maskable
        >>> from omniformer.heads import NextTokenHead
        >>> text = CharacterTokenizer().fit(["abc"])
        >>> sizes = {"d_model": 8, "vocab_size": text.vocab_size}
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=8, n_layers=1, n_heads=2),
        ...     embedders={"text": Maskable(d_model=8, embedder=IdEmbedder(**sizes))},
        ...     heads={"letters": NextTokenHead(**sizes)},
        ... )
        >>> (holes,) = Filler(model, "letters", tokenizers={"text": text}).fill([("first", "a[MASK]c")], top=2)
        >>> [hole.token for hole in holes], len(holes[0].probabilities)
        ([1], 2)
    """

    def __init__(self, model: OmniFormer, head: str, *, tokenizers: Mapping[str, Tokenizer]) -> None:
        self.model, self.head, self._reader = model, head, head_making("ids", model, head)
        self.modality = self._reader.modality
        tokenizer: Any = tokenizers.get(self.modality)
        if tokenizer is None or tokenizer.modality != "text":
            raise ValueError(f"{head!r} finds hidden tokens of {self.modality}; only those of text can be written down")
        self.mask = next((name for name in _MASKS if name in getattr(tokenizer, "special_tokens", ())), None)
        self._own = self.mask is not None and hasattr(tokenizer, "reading_special")
        if not self._own and not getattr(model.embedders[self.modality], "hides", False):
            raise ValueError(
                f"{head!r} knows no hidden token: its vocabulary has none of {', '.join(_MASKS)}, and its embedder is "
                "no omniformer.embedders.Maskable"
            )
        self.tokenizer: Any = tokenizer.reading_special() if self._own else tokenizer

    @torch.inference_mode()
    def fill(self, texts: Sequence[tuple[str, Any]], *, top: int = 5) -> list[list[Hole]]:
        """What may stand in the holes of each text, in order.

        Args:
            texts: each with the name that messages call it; a text may also be a file.
            top: how many words for each hole.

        Raises:
            ValueError: a text has no hole; names it.
        """
        given = [self._hidden(name, text) for name, text in texts]
        samples = [Sample(id=name, pieces=[tokens]) for (name, _), (tokens, _) in zip(texts, given, strict=True)]
        x, layout = self.model.encode(batch_of(samples, self.model), self.head)
        hidden = torch.cat([hidden for _, hidden in given]).to(x.device)
        shares = self._reader.predict(self._reader(x[hidden], layout))  # such a head reads each token by itself
        best = shares.topk(min(top, shares.shape[-1]))
        places = [hidden.nonzero().flatten().tolist() for _, hidden in given]
        rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [[self._hole(token, *next(rows)) for token in tokens] for tokens in places]

    def _hidden(self, name: str, text: Any) -> tuple[Tokens, Tensor]:
        """The tokens of a text, and which of them are holes."""
        if self._own:
            tokens = tokens_of(name, self.modality, text, self.tokenizer)
            hidden = tokens.values == self.tokenizer.special_id(self.mask)
        else:
            tokens, hidden = self._pierced(name, text)
        if not hidden.any():
            raise ValueError(f"{name} hides nothing; write {self.mask or _MASKS[0]} where a word is to be found")
        return tokens, hidden

    def _pierced(self, name: str, text: Any) -> tuple[Tokens, Tensor]:
        """The tokens of the text between the holes, with a hidden one in each hole."""
        text = read_text(text) if isinstance(text, Path) else text
        if not isinstance(text, str):
            raise ValueError(f"{name} is a {type(text).__name__}; give one text, in which {_MASKS[0]} hides a word")
        before, *behind = text.split(_MASKS[0])
        if isinstance(self.tokenizer, BPETokenizer) and behind:
            # Byte pairs begin with the blank before them: the one before a hole belongs to what is hidden.
            before, *behind = [each.removesuffix(" ") for each in (before, *behind[:-1])] + behind[-1:]
        values = tokens_of(name, self.modality, before, self.tokenizer).values
        pieces, hidden = [values], [torch.zeros(len(values), dtype=torch.bool)]
        for part in behind:
            values = tokens_of(name, self.modality, part, self.tokenizer).values
            pieces += [values.new_zeros(1), values]
            hidden += [torch.ones(1, dtype=torch.bool), torch.zeros(len(values), dtype=torch.bool)]
        masked = torch.cat(hidden)
        positions = torch.arange(len(masked), dtype=torch.float32)[:, None]
        tokens = Tokens(values=torch.cat(pieces), positions=positions, modality=self.modality)
        return replace(tokens, features={"masked": masked}), masked

    def _hole(self, token: int, shares: Sequence[float], ids: Sequence[int]) -> Hole:
        found: dict[str, float] = {}
        for share, chosen in zip(shares, ids, strict=True):
            said = self._said(chosen)
            found[said] = found.get(said, 0.0) + share
        return Hole(token=token, probabilities=found)

    def _said(self, chosen: int) -> str:
        """What an id says by itself; the name of a special one, and `<|7|>` for one that says nothing."""
        if text := self.tokenizer.decode([chosen]) if chosen < self.tokenizer.vocab_size else "":
            return text
        special = getattr(self.tokenizer, "special_tokens", ())
        return next((name for name in special if self.tokenizer.special_id(name) == chosen), f"<|{chosen}|>")


def writes_nothing(task: str) -> str:
    """What somebody is told who wants such a task to write."""
    return (
        f"{task!r} has learned to find hidden tokens from those on both sides, it writes nothing by itself: call "
        "predict on a text with [MASK] in it, or begin another task from its weights with model.pretrained=<run>"
    )
