"""One vector for each text, to be compared with those of other texts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.heads.head import Head
from omniformer.heads.pooling import MeanPool, width_of

Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda one, other: F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T,
    "dot": lambda one, other: one @ other.T,
    "euclidean": lambda one, other: -torch.cdist(one, other),
    "manhattan": lambda one, other: -torch.cdist(one, other, p=1.0),
}


class Dense(nn.Module):
    """A linear map of a vector and an activation.

    Args:
        features: numbers in.
        d_embedding: numbers out.
        activation: of what comes out; none by default.
        bias: whether the map has an offset.

    Example:
        >>> Dense(features=4, d_embedding=2, activation="tanh")(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, *, features: Count, d_embedding: Count, activation: Activation | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        checks.counts(features=features, d_embedding=d_embedding)
        self.map = nn.Linear(features, d_embedding, bias=bias)
        self.activation = nn.Identity() if activation is None else activation_of(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[samples, features]` to `[samples, d_embedding]`."""
        return self.activation(self.map(x))

    def reset_parameters(self) -> None:
        """Draws the map anew."""
        linear_(self.map, self.map.in_features**-0.5)


class SentenceHead(Head):
    """The vector of a text as models of the library sentence-transformers make it
    ([Reimers and Gurevych 2019](https://arxiv.org/abs/1908.10084), 3): poolings side by side, maps, and length one
    where that is wanted.

    Args:
        d_model: width of the core.
        pools: make poolings, each called with `d_model`; what they give stands side by side. The mean by default.
        dense: make maps, one after the other.
        unit: whether vectors have length one.
        similarity: by which they are compared: their "cosine", "dot" product, or distance ("euclidean", "manhattan"),
            taken negative.
        prompts: by name, what may be put before a text; a model that searches has one for questions, one for answers.
        prompt: the name of the one that is put there where none is asked for; none by default.
        pools_prompt: whether the poolings read the tokens of the prompt.
        lower: whether texts are put in lower case.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_embedding]`; zero for a sample without tokens, where there is no map.

    Raises:
        ValueError: there is no pooling, `similarity` is unknown, or `prompt` is none of `prompts`.

    Example:
        >>> head = SentenceHead(d_model=8, prompts={"query": "query: "})
        >>> head(torch.ones(5, 8), Layout.from_lengths(2, 3)).norm(dim=1).round(decimals=4).tolist()
        [1.0, 1.0]
        >>> head.prompted("Where?", "query")
        'query: Where?'
    """

    embeds = True
    instead = "makes vectors of texts, it predicts no class: use Predictor.embed"
    output = "embedding"

    def __init__(
        self,
        *,
        d_model: Count,
        pools: Sequence[Callable[..., nn.Module]] = (MeanPool,),
        dense: Sequence[Callable[..., nn.Module]] = (),
        unit: bool = True,
        similarity: Similarity = "cosine",
        prompts: Mapping[str, str] | None = None,
        prompt: str | None = None,
        pools_prompt: bool = True,
        lower: bool = False,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.known(SIMILARITIES, similarity=similarity)
        if not pools:
            raise ValueError("pools is empty; a text of several tokens needs at least one pooling")
        self.pools = nn.ModuleList(pool(d_model=d_model) for pool in pools)
        self.dense = nn.Sequential(*(make() for make in dense))
        self.unit, self.similarity = unit, similarity
        self.prompts, self.prompt, self.pools_prompt, self.lower = dict(prompts or {}), prompt, pools_prompt, lower
        maps: list[Any] = list(self.dense)
        self.d_embedding: int = (
            maps[-1].map.out_features if maps else sum(width_of(pool, d_model) for pool in self.pools)
        )
        self.text_before(prompt)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The vector of each sample."""
        vectors = self.dense(torch.cat([pool(x, layout) for pool in self.pools], dim=-1))
        return F.normalize(vectors, dim=-1) if self.unit else vectors

    def predict(self, outputs: Tensor) -> Tensor:
        """The vectors themselves."""
        return outputs.float()

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """How alike vectors are: each of one list beside each of another.

        Shapes:
            `[inputs of one, d_embedding]`, `[inputs of the other, d_embedding]` → `[inputs of one, inputs of the
            other]`.
        """
        return SIMILARITIES[self.similarity](one, other)

    def text_before(self, prompt: str | None) -> str:
        """What is put before a text.

        Args:
            prompt: its name; None for the usual one.

        Raises:
            ValueError: there is no prompt of that name.
        """
        name = self.prompt if prompt is None else prompt
        if name is None:
            return ""
        if name not in self.prompts:
            raise ValueError(f"prompt={name!r} is none of this model's prompts: {', '.join(self.prompts) or 'none'}")
        return self.prompts[name]

    def prompted(self, text: str, prompt: str | None = None) -> str:
        """A text as the model reads it: behind its prompt, without blanks at its ends, in lower case where the model
        knows no other.
        """
        text = (self.text_before(prompt) + text).strip()
        return text.lower() if self.lower else text
