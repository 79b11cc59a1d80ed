"""The ranges of numbers: those that our annotations write, and those of the libraries whose constructors we build."""

import ast
from dataclasses import dataclass

from omniformer.config.source import Definition, Module, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The numbers between two ends.

    Args:
        least: the smallest number accepted.
        above: every accepted number is larger than this one.
        most: the largest number accepted.
        below: every accepted number is smaller than this one.
        also: further values with a meaning of their own, such as -1 for "all".

    Example:
        >>> Range(least=0, below=1).words, 1 in Range(least=0, below=1)
        ('at least 0 and below 1', False)
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    also: tuple[float, ...] = ()

    def __contains__(self, value: float) -> bool:
        """Whether a number lies in the range."""
        return value in self.also or (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    @property
    def words(self) -> str:
        """The range as a message says it."""
        ends = [("at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below)]
        words = " and ".join(f"{word} {end}" for word, end in ends if end is not None)
        return " or ".join([words, *(str(each) for each in self.also)])


# What annotated_types calls the ends (https://github.com/annotated-types/annotated-types).
_ENDS = {"ge": "least", "gt": "above", "le": "most", "lt": "below"}


def annotated(mark: ast.expr, here: Module) -> Range | None:
    """The range that a mark of an annotation writes, such as `Ge(1)` of `Annotated[int, Ge(1)]`; None for other marks.

    Args:
        mark: what stands beside the type.
        here: the module in which it stands.

    """
    found = resolve(mark.func, here) if isinstance(mark, ast.Call) else None
    if not isinstance(mark, ast.Call) or not isinstance(found, Definition) or found.module != "annotated_types":
        return None
    keywords = {str(each.arg): each.value for each in mark.keywords}
    if found.qualname.lower() in _ENDS:
        keywords = {found.qualname.lower(): mark.args[0]} if mark.args else keywords
    try:
        ends = {_ENDS[name]: ast.literal_eval(value) for name, value in keywords.items() if name in _ENDS}
    except ValueError:  # an end that is computed: reading source runs nothing
        return None
    return Range(**ends) if ends else None


_COUNT, _NOT_NEGATIVE, _POSITIVE = Range(least=1), Range(least=0), Range(above=0)
_BELOW_ONE, _ALL_TOO = Range(least=0, below=1), Range(least=1, also=(-1,))
_SHARE_OR_COUNT = Range(least=0)  # of batches: a number with a point is a share and at most 1, a whole number a count

# The libraries whose constructors say nothing of their ranges, and what their parameters of these names may be.
_LIBRARIES = {"lightning", "torch", "torchmetrics"}
FOREIGN = {
    "max_epochs": _COUNT,
    "min_epochs": _COUNT,
    "max_steps": _ALL_TOO,
    "min_steps": _COUNT,
    "num_nodes": _COUNT,
    "devices": _ALL_TOO,
    "accumulate_grad_batches": _COUNT,
    "gradient_clip_val": _NOT_NEGATIVE,
    "check_val_every_n_epoch": _COUNT,
    "val_check_interval": _POSITIVE,
    "num_sanity_val_steps": Range(least=0, also=(-1,)),
    "log_every_n_steps": _COUNT,
    "fast_dev_run": _NOT_NEGATIVE,
    "limit_train_batches": _SHARE_OR_COUNT,
    "limit_val_batches": _SHARE_OR_COUNT,
    "limit_test_batches": _SHARE_OR_COUNT,
    "limit_predict_batches": _SHARE_OR_COUNT,
    "overfit_batches": _SHARE_OR_COUNT,
    "reload_dataloaders_every_n_epochs": _NOT_NEGATIVE,
    "lr": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "betas": _BELOW_ONE,
    "momentum": _BELOW_ONE,
    "eps": _POSITIVE,
    "ns_steps": _COUNT,
    "patience": _NOT_NEGATIVE,
    "min_delta": _NOT_NEGATIVE,
    "save_top_k": Range(least=0, also=(-1,)),
    "every_n_train_steps": _NOT_NEGATIVE,
    "every_n_epochs": _NOT_NEGATIVE,
}


def misfit(name: str, module: str, value: object) -> str | None:
    """What a number of a library's parameter, or each number of a list, should have been; None where it fits.

    Args:
        name: of the parameter.
        module: that defines it; of ours nothing is said, since their annotations say it.
        value: what a configuration gives it.

    Example:
        >>> misfit("lr", "torch.optim.adamw", 0.0), misfit("lr", "torch.optim.adamw", 0.1), misfit("lr", "mine", 0.0)
        ('above 0', None, None)
        >>> misfit("limit_val_batches", "lightning", 1.5)
        'a share from 0.0 to 1.0, or a whole number of batches, at least 0'
    """
    bounds = FOREIGN.get(name) if module.partition(".")[0] in _LIBRARIES else None
    if bounds is None:
        return None
    if isinstance(value, list | tuple):
        return next((words for each in value if (words := misfit(name, module, each))), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if bounds is _SHARE_OR_COUNT and (value < 0 or (isinstance(value, float) and value > 1)):
        return "a share from 0.0 to 1.0, or a whole number of batches, at least 0"
    return None if value in bounds else bounds.words
