"""A published model as an ordinary one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer_tokenizers import Tokenizer

from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.pretrained.family import Family
from omniformer.pretrained.files.companions import write_companions
from omniformer.pretrained.files.writing import GENERATION_FILE, usual_writing
from omniformer.pretrained.filling import Report
from omniformer.pretrained.saving import save_pretrained
from omniformer.recipe import Node


class Pretrained(Predictor):
    """A published model as an ordinary one: to predict with, to fine-tune, to take parts from, and to write back.

    Args:
        model: embedders, core and heads.
        members: its one member, with the tokenizers; none for files without a head.
        tokenizers: by modality, for files without a head.
        family: what the files say of themselves.
        report: what became of the tensors.
        files: the small files that lay beside the weights, by name, to be written back with them.
    """

    published = True

    def __init__(
        self,
        model: OmniFormer,
        members: Mapping[str, Member],
        *,
        tokenizers: Mapping[str, Tokenizer] | None = None,
        family: Family,
        report: Report | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(model, members, tokenizers=tokenizers)
        self.family, self.report, self.files = family, report, dict(files or {})

    @property
    def recipe(self) -> Node:
        """How to build the model again, as `omniformer.save` wants it."""
        return self.family.recipe

    @property
    def usual_writing(self) -> dict[str, Any]:
        """How its `generation_config.json` recommends that it writes, as options of `generate` and `chat`; empty where
        there is none. What cannot be followed is named in a warning.
        """
        if GENERATION_FILE not in self.files:
            return {}
        return usual_writing(json.loads(self.files[GENERATION_FILE]), GENERATION_FILE)

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int = 5 << 30) -> None:
        """Writes the model as the reference library reads it, with its vocabulary and what else lay beside the weights:
        see `save_pretrained`.
        """
        save_pretrained(self.model, folder, self.family.config, max_shard_size=max_shard_size)
        write_companions(self.files, Path(folder))
