"""Zachary's karate club: one small graph, in which the group of each member is to be found."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from omniformer.data.pyg_dataset import pyg
from omniformer.data.source import Raw, Source, Split
from omniformer.data.splitting import hashed_split


class KarateClub(Source):
    """Friendships of 34 members of a karate club (Zachary 1977), with the four groups of PyG's copy as classes.

    Every split is the same graph; `token_targets["mask"]` says which nodes count in it. Training knows one member of
    each group, as in PyG; of the other 30, ten are for validation and twenty for test, by the hash of their number.
    A node's feature is its identity, one-hot, as in PyG.

    Example:
        >>> club = KarateClub()
        >>> [int(club.split(name)[0].token_targets["mask"].sum()) for name in ("train", "val", "test")]
        [4, 10, 20]
    """

    modalities = ("graph",)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return ("group 0", "group 1", "group 2", "group 3")

    @property
    def facts(self) -> dict[str, Any]:
        """The number of groups, and of members."""
        return {"n_classes": len(self.labels), "node_features": 34}

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        import torch

        data = pyg("datasets").KarateClub()[0]
        rest = (~data.train_mask).nonzero().flatten().tolist()
        held_out = hashed_split([f"member {i}" for i in rest], val=0, test=2 / 3)
        masks = {name: torch.zeros(34, dtype=torch.bool) for name in ("val", "test")}
        masks["val"][[rest[i] for i in held_out["train"]]] = True
        masks["test"][[rest[i] for i in held_out["test"]]] = True
        graph = {"n_nodes": 34, "edges": data.edge_index.T.contiguous(), "node_features": data.x}
        label = data.y.long()
        members: dict[Split, torch.Tensor] = {
            "train": data.train_mask.clone(),
            "val": masks["val"],
            "test": masks["test"],
        }
        return {
            name: [Raw(id="karate", contents={"graph": graph}, token_targets={"label": label, "mask": mask})]
            for name, mask in members.items()
        }
