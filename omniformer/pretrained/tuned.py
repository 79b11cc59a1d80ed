"""A model that was trained further from a published one, and can be written back as one of its family."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.config import build
from omniformer.model import OmniFormer
from omniformer.predictor import Member
from omniformer.pretrained.family import Family
from omniformer.pretrained.pretrained import Pretrained
from omniformer.recipe import Node


class Tuned(Pretrained):
    """What a run made of a published model: heads have the names of its tasks, and may be new.

    Args:
        model: embedders, core and heads.
        members: its tasks.
        tokenizers: by modality, of a model without members.
        family: what the published files said of themselves.
        recipe: how to build the model again.
        files: the small files that lay beside the published weights, by name.
    """

    def __init__(
        self,
        model: OmniFormer,
        members: Mapping[str, Member],
        *,
        tokenizers: Mapping[str, Tokenizer] | None = None,
        family: Family,
        recipe: Node,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(model, members, tokenizers=tokenizers, family=family, files=files)
        self.made = recipe

    @property
    def recipe(self) -> Node:
        """How to build the model again."""
        return self.made

    def as_published(self) -> Pretrained:
        """The same model, not copied, as the member of its family that has its heads: the published kind itself, or
        another, such as a classifier on what was a masked language model.

        Raises:
            ValueError: the family has no such member; says what the heads of the run are and what its kinds have.
        """
        unsuited: list[str] = []  # why kinds that the labels do not suit refuse them
        for architecture in dict.fromkeys((self.family.architecture, *self.family.architectures)):
            config = {**self.family.config, "architectures": [architecture], **self._labels}
            try:
                family = type(self.family)(config)
                recipe = family.recipe
            except ValueError as error:
                unsuited.append(f" {architecture}: {error}.")
                continue
            if self._class_names and family.labels != self._class_names:
                continue  # a kind whose classes mean something of their own
            if (heads := self._heads(recipe)) is not None:
                return self._renamed(family, heads)
        mine = ", ".join(type(head).__name__ for head in self.model.heads.values())
        raise ValueError(
            f"no {type(self.family).__name__} has the heads of this run ({mine}): they have no place in files of "
            f"{', '.join(self.family.architectures)}; use omniformer.save, our own format, or train with heads of the "
            f"parts that the family has.{''.join(unsuited)}"
        )

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Writes the model as the reference library reads it, with its vocabulary: see `Pretrained.save_pretrained`.

        Raises:
            ValueError: the family has no member with the heads of this model.
        """
        self.as_published().save_pretrained(folder, **options)

    @property
    def _class_names(self) -> tuple[str, ...]:
        """The names of the classes of the first head that tells any apart."""
        named = [(self.model.heads[name], member.labels) for name, member in self.members.items()]
        return next((tuple(labels) for head, labels in named if labels and hasattr(head, "classes")), ())

    @property
    def _labels(self) -> Node:
        """The names of the classes, as `config.json` says them."""
        names = self._class_names
        heads = [self.model.head(name) for name in self.model.heads]
        names = names or tuple(f"LABEL_{i}" for i in range(sum(head.n_numbers for head in heads)))
        if not names:
            return {}
        return {
            "id2label": {str(i): name for i, name in enumerate(names)},
            "label2id": {name: i for i, name in enumerate(names)},
            "problem_type": next((head.problem for head in heads if head.problem), None),
        }

    def _heads(self, recipe: Node) -> dict[str, str] | None:
        """For each head of a recipe the one of ours that has its class and its weights; None where one has none."""
        pairs: dict[str, str] = {}
        for theirs, described in recipe["heads"].items():
            with torch.device("meta"):
                head = build(described["node"], f"heads.{theirs}", **described["facts"])
            fitting = [
                name
                for name in self.model.heads
                if _alike(self.model.head(name).plain(), head) and name not in pairs.values()
            ]
            if fitting:
                pairs[theirs] = fitting[0]
            elif any(True for _ in head.parameters()):
                return None
        # Every head of the run must find its place, or its weights would be lost.
        return pairs if set(pairs.values()) == set(self.model.heads) else None

    def _renamed(self, family: Family, heads: Mapping[str, str]) -> Pretrained:
        rules = {theirs: self.model.rules[ours] for theirs, ours in heads.items() if ours in self.model.rules}
        known = [name for name in family.recipe["embedders"] if name in self.model.embedders]
        embedders: Any = self.model.embedders
        model = OmniFormer(
            core=self.model.core,
            embedders={name: embedders[name] for name in known},
            heads={theirs: self.model.head(ours).plain() for theirs, ours in heads.items()},
            rules=rules,
        )
        members = {theirs: self.members[ours] for theirs, ours in heads.items() if ours in self.members}
        return Pretrained(model, members, tokenizers=self.tokenizers, family=family, files=self.files)


def _alike(mine: nn.Module, theirs: nn.Module) -> bool:
    """Whether a head has the class and the shapes of another."""
    if type(mine) is not type(theirs):
        return False
    shapes = [{name: tensor.shape for name, tensor in head.state_dict().items()} for head in (mine, theirs)]
    return shapes[0] == shapes[1]
