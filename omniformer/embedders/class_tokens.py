"""Class tokens: learned vectors in front of the tokens of an image or a sound."""

from collections.abc import Callable
from dataclasses import replace

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.ranges import BelowOne, Count, Natural, Positive
from omniformer.embedders.reads import Reads


class ClassTokenEmbedder(nn.Module):
    """Any embedder, with a learned vector for each class token of a sample, from which heads read
    ([Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929), equation 1; a second one in
    [Touvron et al. 2020](https://arxiv.org/abs/2012.12877), figure 2).

    Class token i is where the feature `class_token` is i, counted from 1: `omniformer_tokenizers.ClassTokens` puts them
    there. It becomes the sum of two learned vectors, what it is and where it stands, which published models keep apart.

    Args:
        d_model: width of the core.
        embedder: makes the vectors of all other tokens.
        n_class_tokens: of each sample.
        n_registers: how many of them, the last ones, stand nowhere, and are one vector each: registers, in which a
            model keeps what belongs to no patch ([Darcet et al. 2023](https://arxiv.org/abs/2309.16588)); all of them
            where positions are turned in the core, as in DINOv3.
        norm: makes a norm after everything, called with `d_model`, as in CLIP; none by default.
        dropout: share of features of all vectors set to zero in training, after positions were added; the embedder
            inside then needs none.
        init_std: deviation of the vectors at the start; 0.02 as in ViT.

    Raises:
        ValueError: `n_class_tokens` is below 1, or below `n_registers`; at first use, tokens have no feature
            `class_token`, or more class tokens than there are vectors.

    Shapes:
        values of the embedder inside → `[tokens, d_model]`.

    Example:
        >>> from omniformer_tokenizers import ClassTokens, PatchTokenizer, pack
        >>> from omniformer.embedders import VectorEmbedder
        >>> tokens = ClassTokens(tokenizer=PatchTokenizer(patch_size=4))(torch.zeros(3, 8, 8))
        >>> patches = VectorEmbedder(d_model=8, features=48, axes=2)
        >>> ClassTokenEmbedder(d_model=8, embedder=patches)(pack([tokens])).shape
        torch.Size([5, 8])
    """

    # Which of the parameters an optimizer must not decay.
    no_weight_decay = ("vectors", "positions")

    def __init__(
        self,
        *,
        d_model: Count,
        embedder: nn.Module,
        n_class_tokens: Count = 1,
        n_registers: Natural = 0,
        norm: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
        init_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.positive(init_std=init_std)
        if n_class_tokens < 1:
            raise ValueError(f"n_class_tokens={n_class_tokens} must be at least 1; without any, use the embedder alone")
        checks.not_negative(n_registers=n_registers)
        if n_registers > n_class_tokens:
            raise ValueError(
                f"n_registers={n_registers} must be at most n_class_tokens={n_class_tokens}, which count them"
            )
        self.embedder, self.init_std, self.n_registers = embedder, init_std, n_registers
        self.vectors = nn.Parameter(torch.empty(n_class_tokens, d_model))
        standing = n_class_tokens - n_registers
        self.positions = nn.Parameter(torch.empty(standing, d_model)) if standing else None
        self.norm = nn.Identity() if norm is None else norm(d_model=d_model)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        number = self._numbers(packed)
        features = {name: feature for name, feature in packed.features.items() if name != "class_token"}
        x = self.embedder(replace(packed, features=features))
        own = self.vectors
        if self.positions is not None:
            own = own + F.pad(self.positions, (0, 0, 0, self.n_registers))
        own = own.to(x.dtype)
        x = torch.where((number > 0)[:, None], own[(number - 1).clamp(min=0)], x)
        return self.dropout(self.norm(x))

    @property
    def reads(self) -> Reads | None:
        """Class tokens, and what the embedder inside reads; None where that says nothing."""
        inner: Reads | None = getattr(self.embedder, "reads", None)
        if inner is None:
            return None
        return replace(inner, features={"class_token": len(self.vectors), **inner.features})

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        nn.init.normal_(self.vectors, std=self.init_std)
        if self.positions is not None:
            nn.init.normal_(self.positions, std=self.init_std)

    def _numbers(self, packed: Packed) -> Tensor:
        if "class_token" not in packed.features:
            raise ValueError(
                f"tokens of modality {packed.modality!r} have no feature 'class_token', which this embedder reads; "
                "wrap their tokenizer in omniformer_tokenizers.ClassTokens"
            )
        number = packed.features["class_token"]
        # Only on the host, and not where a tracer looks on: elsewhere looking at the numbers would mean waiting for the
        # device, which checks them too.
        seen = number.device.type == "cpu" and not torch.compiler.is_compiling()
        if seen and number.numel() and (most := int(number.max())) > len(self.vectors):
            raise ValueError(
                f"a sample has {most} class tokens, this embedder {len(self.vectors)} vectors; set "
                f"n_class_tokens={most} or the tokenizer's n"
            )
        return number
