"""Published models with another vocabulary or longer texts."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core.positions import Learned
from omniformer.pretrained.pretrained import Pretrained
from omniformer.pretrained.tuned import Tuned
from omniformer.quantization import refuse_quantized

# New rows differ from the mean by this share of the old rows' deviation: as good as equal to it, yet not the same.
_SPREAD = 1e-9**0.5
# What of a head has a number for each id.
_BY_ID = ("ids.weight", "ids.bias", "kept_bias")


def vocabulary_size(model: Pretrained, modality: str = "text") -> int:
    """How many ids a model knows, whether its tokenizer uses them all or not.

    Raises:
        ValueError: the modality has no table of ids.
    """
    return _table(model, modality).num_embeddings


@torch.no_grad()
def resize_vocabulary(model: Pretrained, vocab_size: int) -> None:
    """Gives a model room for more ids, or takes the last ones away.

    Old rows stay bit for bit. New ones are drawn about the mean of the old
    ([Hewitt 2021](https://nlp.stanford.edu/~johnhew/vocab-expansion.html)): a row of ordinary size would make a new id
    likelier than all others, wherever it is not meant. Tables that are one stay one, and output tables and offsets of
    ids follow.

    Args:
        model: changed in place, with what it says of itself, so that it can be saved and written back.
        vocab_size: the new number of ids.

    Raises:
        ValueError: the model has no table of ids, its tokenizer uses more, or its weights are quantized.

    Example:
        >>> model = load("gpt2")  # doctest: +SKIP
        >>> resize_vocabulary(model, 50304)  # a multiple of 64 is faster on GPUs  # doctest: +SKIP
    """
    refuse_quantized(model.model)
    if vocab_size < 1:
        raise ValueError(f"vocab_size={vocab_size} must be at least 1")
    before, after = model.family.recipe["embedders"], model.family.resized(vocab_size=vocab_size).recipe["embedders"]
    changed = {name for name, each in after.items() if each != before[name] and name in model.model.embedders}
    for tokenizers in (*(member.tokenizers for member in model.members.values()), model.tokenizers):
        for modality in changed & set(tokenizers):
            tokenizer: Any = tokenizers[modality]
            if tokenizer.vocab_size > vocab_size:
                raise ValueError(
                    f"vocab_size={vocab_size} is less than the {tokenizer.vocab_size} ids of the tokenizer"
                )
    old: list[Tensor] = [_table(model, modality).weight for modality in sorted(changed)]
    for head in map(model.model.head, model.model.heads):
        if head.modality in changed:
            named = [*head.named_parameters(), *head.named_buffers()]
            old += [tensor for name, tensor in named if name in _BY_ID]
    grown = {id(tensor): _rows(tensor, vocab_size) for tensor in {id(each): each for each in old}.values()}
    for module in model.model.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if id(tensor) in grown:
                setattr(module, name, grown[id(tensor)])
                _say(module, vocab_size)
    _remember(model, vocab_size=vocab_size)


@torch.no_grad()
def resize_positions(model: Pretrained, max_seq_len: int) -> None:
    """Lets a model with learned positions read longer texts, or only shorter ones.

    Old places stay bit for bit. Further ones repeat them from the first one on, as Longformer grew out of RoBERTa
    ([Beltagy et al. 2020](https://arxiv.org/abs/2004.05150), 5): neighbours are told apart as before, and training does
    the rest. For pictures of another size, whose grid of positions is stretched, see `load(..., image_size=...)`.

    Args:
        model: changed in place, with what it says of itself.
        max_seq_len: the longest text from now on, in tokens.

    Raises:
        ValueError: the model has no learned positions of texts; those that are computed (rotary, relative) need no
            resizing.

    Example:
        >>> model = load("gpt2")  # doctest: +SKIP
        >>> resize_positions(model, 2048)  # doctest: +SKIP
    """
    if max_seq_len < 1:
        raise ValueError(f"max_seq_len={max_seq_len} must be at least 1")
    parts: list[Any] = [each for each in model.model.modules() if isinstance(getattr(each, "position", None), Learned)]
    embedders = [each for each in parts if each.position.n_axes == 1]
    if not embedders:
        raise ValueError(
            f"{model.family.architecture} has no learned positions of texts; positions that are computed need no "
            "resizing, and those of pictures are stretched by pretrained.load(folder, image_size=...)"
        )
    _remember(model, max_seq_len=max_seq_len)
    for embedder in embedders:
        embedder.position = _longer(embedder.position, max_seq_len)
    model.members = {name: replace(member, max_seq_len=max_seq_len) for name, member in model.members.items()}


def _longer(position: Learned, n: int) -> Learned:
    """The same positions for texts of up to `n` tokens."""
    old, first = position.table, position.first
    rows = torch.arange(n, device=old.device) % (len(old) - first) + first
    new = Learned(d_model=position.d_model, sizes=[first + n], first=first, init_std=position.init_std)
    new = new.to(old.device, old.dtype)
    new.table.copy_(torch.cat([old[:first], old[rows]]))
    new.table.requires_grad_(old.requires_grad)
    return new.train(position.training)


def _embedder(model: Pretrained, modality: str) -> Any:
    if modality not in model.model.embedders:
        raise ValueError(f"this model reads {', '.join(model.model.embedders)}, not {modality!r}")
    return model.model.embedders[modality]


def _table(model: Pretrained, modality: str) -> nn.Embedding:
    table = getattr(_embedder(model, modality), "table", None)
    if not isinstance(table, nn.Embedding):
        raise ValueError(f"tokens of {modality} are no ids in this model")
    return table


def _rows(tensor: Tensor, n: int) -> Tensor:
    """The first rows as they are, and further ones about their mean."""
    old = tensor.detach()
    more = max(0, n - len(old))
    mean, std = old.float().mean(0), old.float().std(0, correction=0)
    new = mean + std * _SPREAD * torch.randn(more, *old.shape[1:], device=old.device)
    rows = torch.cat([old[:n], new.to(old.dtype)])
    return nn.Parameter(rows, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else rows


def _say(module: nn.Module, n: int) -> None:
    """The size that a module tells of itself."""
    if isinstance(module, nn.Embedding):
        module.num_embeddings = n
    elif isinstance(module, nn.Linear):
        module.out_features = n


def _remember(model: Pretrained, **sizes: int) -> None:
    """Puts new sizes into what the model says of itself."""
    model.family = model.family.resized(**sizes)
    if isinstance(model, Tuned):
        made = copy.deepcopy(model.made)
        made["embedders"] |= {
            name: node for name, node in model.family.recipe["embedders"].items() if name in made["embedders"]
        }
        for head in made["heads"].values():
            if (
                "vocab_size" in sizes
                and "vocab_size" in head["node"]
                and head["node"].get("modality", "text") == "text"
            ):
                head["node"]["vocab_size"] = sizes["vocab_size"]
        model.made = made
