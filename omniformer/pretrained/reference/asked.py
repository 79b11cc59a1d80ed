"""What the reference makes beside its outputs, where it is asked: hidden states, and losses of labels."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from omniformer.heads.head import Head

IGNORED = -100
"""The label of what no loss counts."""


def hidden_states(stages: Mapping[str, Tensor], last: Tensor) -> tuple[Tensor, ...]:
    """What goes into the first block and what comes out of each, the last one behind the norm at the end.

    Args:
        stages: as `OmniFormer.encode` fills them.
        last: the core's output.

    Shapes:
        each `[tokens, d_model]`.

    Example:
        >>> import torch
        >>> a, b, c = torch.zeros(3, 5, 8)
        >>> len(hidden_states({"embedded": a, "blocks.0": b, "blocks.1": b}, c))
        3
    """
    n_blocks = sum(name.startswith("blocks.") and name.count(".") == 1 for name in stages)
    return (stages["embedded"], *(stages[f"blocks.{i}"] for i in range(n_blocks - 1)), last)


def loss_of(head: Head, logits: Tensor, labels: Tensor, taken: Tensor, *, shifted: bool) -> Tensor:
    """The mean loss of labels, as the reference computes it.

    Args:
        head: whose logits these are.
        logits: padded.
        labels: ids or classes of tokens, -100 for those that do not count; or classes or numbers of samples.
        taken: which places hold a token.
        shifted: whether the logits of a token are about the one behind it.

    Shapes:
        logits `[samples, seq, n]`, or `[samples, n]` of whole samples; labels int64 `[samples, seq]`, or `[samples]`,
        or float `[samples, n]`; taken bool `[samples, seq]` → `[]`.

    Raises:
        ValueError: a label counts whose logits are those of padding.

    Example:
        >>> import torch
        >>> from omniformer.heads import TokenClassificationHead
        >>> head, here = TokenClassificationHead(d_model=4, n_classes=2), torch.ones(1, 3, dtype=torch.bool)
        >>> round(float(loss_of(head, torch.zeros(1, 3, 2), torch.tensor([[0, 1, -100]]), here, shifted=False)), 4)
        0.6931
    """
    if head.per_token:
        if shifted:
            logits, labels, taken = logits[:, :-1], labels[:, 1:], taken[:, :-1]
        if bool(((labels != IGNORED) & ~taken).any()):
            raise ValueError(f"labels count at places whose logits are those of padding; they are {IGNORED} there")
        return functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED)
    if head.problem == "regression":
        return functional.mse_loss(logits.squeeze(), labels.squeeze())
    if head.problem == "multi_label_classification":
        return functional.binary_cross_entropy_with_logits(logits, labels)
    return functional.cross_entropy(logits, labels.flatten())
