"""Vocabulary parallelism ([Shoeybi et al. 2019](https://arxiv.org/abs/1909.08053), 3): tables of ids, and the scores of
the next id, divided between processes that read the same samples.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional as F

from omniformer.heads.next_token import NextTokenHead

# Ids are cut at the same rows everywhere: nothing is sent, so that no order of sending matters.
_CUT: dict[str, Any] = {"src_data_rank": None}


def apply(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divides tables and scores of ids between the processes of a mesh, in place; all must hold the same weights.

    Each has some rows of a table, and what all find there is added up; of the scores of a token each has those of its
    ids, which the cross-entropy never brings together. Whoever else asks a head for scores gets all of them. Losses and
    their gradients must be computed within `torch.distributed.tensor.parallel.loss_parallel`.

    Args:
        model: with `embedders` and `heads`; what `divisible` does not name stays whole.
        mesh: of one dimension.
    """
    parts: Any = model
    tables, heads = divisible(model, [*parts.embedders.values()], dict(parts.heads.items()), mesh.size())
    for table in tables:
        parallelize_module(table, mesh, RowwiseParallel(input_layouts=Replicate()), **_CUT)
        table.register_forward_hook(_arrived)
    embedders = dict(parts.embedders.items())
    for name, head in heads.items():
        style = ColwiseParallel(output_layouts=Shard(-1), use_local_output=False)
        parallelize_module(head.ids, mesh, style, **_CUT)
        head.share(embedders, name)  # what was tied is cut apart, and tied again
        head.scores = partial(_scores, head)
        head._losses = partial(_losses, head)


def divisible(
    model: nn.Module, embedders: Sequence[nn.Module], heads: Mapping[str, nn.Module], size: int
) -> tuple[list[nn.Embedding], dict[str, NextTokenHead]]:
    """The tables of ids, and the heads that score the next id, that so many processes can divide.

    Whole stay those whose ids do not go up in the processes, which are not plain maps (as with LoRA or rounded
    weights), and which share weights with something that stays whole.

    Args:
        model: that all are parts of.
        embedders: of which some have tables.
        heads: by name.
        size: how many processes.
    """
    found = [getattr(each, "table", None) for each in embedders]
    tables = [each for each in found if type(each) is nn.Embedding and each.num_embeddings % size == 0]
    scoring = {
        name: head
        for name, head in heads.items()
        if type(head) is NextTokenHead
        and head.kept_bias is None
        and type(head.ids) is nn.Linear
        and head.ids.out_features % size == 0
    }
    divided = {*tables, *(head.ids for head in scoring.values())}  # those that share weights have the same ones
    stay = {id(own) for part in model.modules() if part not in divided for own in part.parameters(recurse=False)}
    return (
        [each for each in tables if id(each.weight) not in stay],
        {name: head for name, head in scoring.items() if id(head.ids.weight) not in stay},
    )


def first_part(
    model: nn.Module, embedders: Sequence[nn.Module], heads: Mapping[str, nn.Module], size: int
) -> tuple[list[nn.Embedding], list[NextTokenHead]]:
    """Leaves of tables and scores of ids what the first of several processes has, in place.

    Args:
        model: as for `divisible`, and the other arguments too.

    Returns:
        The tables that are divided, and the heads that are.
    """
    tables, scoring = divisible(model, embedders, heads, size)
    weights = {
        id(own): own for part in (*tables, *(each.ids for each in scoring.values())) for own in part.parameters()
    }
    for weight in weights.values():
        weight.data = weight.data.chunk(size)[0]
    return tables, list(scoring.values())


def _arrived(table: nn.Module, ids: Any, rows: Tensor) -> Tensor:
    """The rows as a plain tensor: the gradient of one that is still on its way does not come back out of a compiled
    block.
    """
    return rows.clone()


def _scores(head: NextTokenHead, x: Tensor) -> Tensor:
    scores: Any = NextTokenHead.scores(head, x)
    return scores.full_tensor()


def _losses(head: NextTokenHead, x: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    if label_smoothing:  # which looks at the scores of all ids, and what torch has for divided ones does not know it
        return NextTokenHead._losses(head, x, targets, label_smoothing)
    scores: Any = NextTokenHead.scores(head, x)
    losses: Any = F.cross_entropy(scores.float(), targets, reduction="none")
    return losses.to_local()
