"""Going on from trained weights: what a run takes over, and which of it learns."""

from omniformer.finetuning.begin import Beginning, begin, tuned
from omniformer.finetuning.data import suit, take_tokenizers
from omniformer.finetuning.recipe import allowed, recipe_from
from omniformer.finetuning.weights import fill, freeze_unread, settle

__all__ = [
    "Beginning",
    "allowed",
    "begin",
    "fill",
    "freeze_unread",
    "recipe_from",
    "settle",
    "suit",
    "take_tokenizers",
    "tuned",
]
