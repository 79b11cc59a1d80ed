"""Rules that thin attention out by a pattern, and the published models' patterns made of rules."""

from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.layout import View
from omniformer.core.ranges import Count, Natural, Seed
from omniformer.core.rules.base import KeyBlocks, Reach, Rule
from omniformer.core.rules.order import Causal, Global, Sinks, Window


@dataclass(frozen=True)
class Strided(Rule):
    """A token attends to every `stride`-th token, counted from itself
    ([Child et al. 2019](https://arxiv.org/abs/1904.10509), 4.2).

    Raises:
        ValueError: `stride` is less than 1.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> print((Causal() & Strided(stride=2)).draw(Layout.from_lengths(4)))
        ■ · · ·
        · ■ · ·
        ■ · ■ ·
        · ■ · ■
    """

    stride: Count

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"Strided(stride={self.stride}): stride must be at least 1")

    def attend(self, query: View, key: View) -> Tensor:
        return (query.index - key.index) % self.stride == 0


@dataclass(frozen=True)
class BlockWindow(Rule):
    """Tokens lie in blocks of `size`; a token attends to its own block, `left` before and `right` after it
    ([Zaheer et al. 2020](https://arxiv.org/abs/2007.14062), appendix D).

    Raises:
        ValueError: `size` is less than 1, or a side is negative.
    """

    size: int
    left: Natural = 1
    right: Natural = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.left < 0 or self.right < 0:
            raise ValueError(f"{self}: size must be at least 1, left and right at least 0")

    def attend(self, query: View, key: View) -> Tensor:
        distance = key.index // self.size - query.index // self.size
        return (distance >= -self.left) & (distance <= self.right)

    def reach(self) -> Reach:
        return Reach(self.size * (self.left + 1) - 1, self.size * (self.right + 1) - 1)

    def hides(self) -> bool:
        return self.right == 0


@dataclass(frozen=True)
class RandomBlocks(Rule):
    """Tokens lie in blocks of `size`; each block attends to `n` blocks drawn at random from its sample
    ([Zaheer et al. 2020](https://arxiv.org/abs/2007.14062), 2).

    The draw depends on the seed, the block and the sample's number of blocks, and on nothing else: the same sample
    meets the same pattern in every batch, epoch and process. Blocks are drawn with replacement, so a block may get
    fewer than `n`. As the pattern changes with a sample's length, the rule is one for encoders, not for step-by-step
    decoding.

    Raises:
        ValueError: `size` is less than 1, or `n` is negative.
    """

    not_exported = "it draws blocks by the length of each sample"

    size: int = 64
    n: int = 3
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.n < 0:
            raise ValueError(f"{self}: size must be at least 1 and n at least 0")

    def attend(self, query: View, key: View) -> Tensor:
        length = query.length if query.layout is key.layout else key.length
        drawn = self.chosen(query.index // self.size, (length + self.size - 1) // self.size)
        block = key.index // self.size
        allowed = torch.zeros((), dtype=torch.bool, device=block.device)
        for i in range(self.n):
            allowed = allowed | (drawn[..., i] == block)
        return allowed

    def reach(self) -> Reach:
        return Reach(0, 0, scattered=True)

    def blocks(self) -> tuple[KeyBlocks, ...]:
        return (self,)

    def chosen(self, query_block: Tensor, n_blocks: Tensor) -> Tensor:
        """The key blocks of each query block in a sample of `n_blocks`.

        Shapes:
            `[...]`, `[...]` → `[..., n]`.
        """
        slot = torch.arange(self.n, device=query_block.device)
        mixed_seed = (self.seed + 1) * 0x1B873593CC9E2D51 % 2**63
        # A counter-based generator after splitmix64 (Steele et al. 2014): int64 wraps, shifts keep the sign.
        x = query_block[..., None] * 0x9E3779B97F4A7C1 + slot * 0x2545F4914F6CDD1D + mixed_seed
        x = (x ^ (x >> 30)) * 0x3F58476D1CE4E5B9
        x = (x ^ (x >> 27)) * 0x14D049BB133111EB
        return ((x ^ (x >> 31)) & 0x7FFFFFFFFFFFFFFF) % n_blocks.clamp(min=1)[..., None]


def longformer(*, window: int = 512, n_global: int = 1, feature: str | None = None) -> Rule:
    """Longformer's pattern: a window, and tokens that see and are seen by all
    ([Beltagy et al. 2020](https://arxiv.org/abs/2004.05150), 3.1).

    Args:
        window: width of the window, half on each side; 512 as in the released models.
        n_global: how many leading tokens are global; 1 for a classification token.
        feature: name of a feature of the layout that marks further global tokens.

    Example:
        >>> print(longformer(window=4))
        (Window(left=2, right=2) | Global(first=1, feature=None))
    """
    return Window(left=window // 2, right=window // 2) | Global(first=n_global, feature=feature)


def bigbird(*, size: int = 64, n_random: int = 3, n_global: int = 2, seed: Seed = 0) -> Rule:
    """BigBird's pattern: blocks attend to their neighbours, to random blocks, and to and from global blocks
    ([Zaheer et al. 2020](https://arxiv.org/abs/2007.14062), 2, with the sizes of table 8).

    Args:
        size: tokens of a block.
        n_random: random blocks of each block.
        n_global: how many leading blocks are global.
        seed: of the random blocks.
    """
    return BlockWindow(size) | Global(first=n_global * size) | RandomBlocks(size, n_random, seed)


def mistral(*, window: int = 4096, sinks: Natural = 0) -> Rule:
    """Mistral's sliding window: a token attends to itself and the `window - 1` before it
    ([Jiang et al. 2023](https://arxiv.org/abs/2310.06825), 2), and to sink tokens where asked
    ([Xiao et al. 2023](https://arxiv.org/abs/2309.17453)).

    Args:
        window: how many tokens a token attends to, itself among them; 4096 in the paper.
        sinks: how many tokens at the beginning of a sample all others attend to.

    Raises:
        ValueError: `window` is less than 1.

    Example:
        >>> print(mistral(window=4, sinks=1))
        (Causal() & (Window(left=3) | Sinks(n=1)))
    """
    if window < 1:
        raise ValueError(f"window={window} must be at least 1: a token attends at least to itself")
    near = Window(left=window - 1)
    return Causal() & (near | Sinks(sinks) if sinks else near)


def sparse_transformer(*, stride: Count) -> Rule:
    """The strided pattern of the Sparse Transformer ([Child et al. 2019](https://arxiv.org/abs/1904.10509), 4.2).

    Args:
        stride: both the window and the distance between the tokens beyond it; about the root of the length.

    Example:
        >>> print(sparse_transformer(stride=8))
        (Causal() & (Window(left=8) | Strided(stride=8)))
    """
    return Causal() & (Window(left=stride) | Strided(stride))
