"""Published models: their files into our core and back, one readable table of names for each family."""

from typing import TYPE_CHECKING

from omniformer.pretrained.adapter import load_adapter, save_adapter
from omniformer.pretrained.family import FAMILIES, Family, family_of
from omniformer.pretrained.filling import Report
from omniformer.pretrained.loading import load
from omniformer.pretrained.pretrained import Pretrained
from omniformer.pretrained.resizing import resize_positions, resize_vocabulary, vocabulary_size
from omniformer.pretrained.saving import save_pretrained
from omniformer.pretrained.tuned import Tuned

if TYPE_CHECKING:
    from torch import nn


def as_reference(model: Pretrained) -> "nn.Module":
    """A loaded model behind the reference library's keywords (`input_ids`, `attention_mask`, `pixel_values`, ...); it
    returns an object with the reference's outputs (`logits`, ...) in its padded layout.

    Example:
        >>> logits = as_reference(load("gpt2"))(input_ids=ids, attention_mask=mask).logits  # doctest: +SKIP
    """
    return model.family.reference(model.model)


__all__ = [
    "FAMILIES",
    "Family",
    "Pretrained",
    "Report",
    "Tuned",
    "as_reference",
    "family_of",
    "load",
    "load_adapter",
    "resize_positions",
    "resize_vocabulary",
    "save_adapter",
    "save_pretrained",
    "vocabulary_size",
]
