"""The range of every number that a configuration may hold, by the name of its key: one table for all our classes.

One spelling for each concept makes this possible: `dropout` means the same wherever it stands. A number in `conf/`
whose name is in neither table fails a test: every number is bounded, or unbounded on purpose. Classes of other
packages, where a `rank` may begin at 0, have names of their own: nothing is said of what they define themselves.
"""

from dataclasses import dataclass


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


COUNT = Range(least=1)
COUNT_OR_NONE = Range(least=0)
POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(least=0)
SHARE = Range(least=0, most=1)
SOME_SHARE = Range(above=0, most=1)
BELOW_ONE = Range(least=0, below=1)
SHARE_OR_COUNT = Range(least=0)  # of batches: a number with a point is a share and at most 1, a whole number a count
COUNT_OR_ALL = Range(least=1, also=(-1,))

_RUN = {
    "seed": Range(least=0, most=2**32 - 1),
    "steps_per_epoch": COUNT,
    "mixture_temperature": POSITIVE,
    "max_epochs": COUNT,
    "min_epochs": COUNT,
    "max_steps": COUNT_OR_ALL,
    "min_steps": COUNT,
    "num_nodes": COUNT,
    "devices": COUNT_OR_ALL,
    "accumulate_grad_batches": COUNT,
    "gradient_clip_val": NOT_NEGATIVE,
    "check_val_every_n_epoch": COUNT,
    "val_check_interval": POSITIVE,
    "num_sanity_val_steps": Range(least=0, also=(-1,)),
    "log_every_n_steps": COUNT,
    "fast_dev_run": COUNT_OR_NONE,
    "limit_train_batches": SHARE_OR_COUNT,
    "limit_val_batches": SHARE_OR_COUNT,
    "limit_test_batches": SHARE_OR_COUNT,
    "limit_predict_batches": SHARE_OR_COUNT,
    "overfit_batches": SHARE_OR_COUNT,
    "reload_dataloaders_every_n_epochs": COUNT_OR_NONE,
}
_MODEL = {
    "d_model": COUNT,
    "d_ff": COUNT,
    "n_layers": COUNT,
    "n_heads": COUNT,
    "n_kv_heads": COUNT,
    "head_dim": COUNT,
    "seq_len": COUNT,
    "target_len": COUNT,
    "max_seq_len": COUNT,
    "vocab_size": COUNT,
    "n_classes": COUNT,
    "n_outputs": COUNT,
    "d_embedding": COUNT,
    "d_link": COUNT,
    "n_axes": COUNT_OR_NONE,
    "n_experts": COUNT,
    "n_registers": COUNT,
    "top_k": COUNT,
    "rank": COUNT,
    "alpha": POSITIVE,
    "n_rounds": COUNT,
    "n_buckets": COUNT,
    "n_features": COUNT,
    "max_degree": COUNT_OR_NONE,
    "left": COUNT_OR_NONE,
    "right": COUNT_OR_NONE,
    "sinks": COUNT_OR_NONE,
    "hops": COUNT,
    "every": COUNT,
    "first": COUNT_OR_NONE,
    "d_condition": COUNT,
    "max_distance": COUNT,
    "max_distances": COUNT,
    "original_seq_len": COUNT,
    "factor": POSITIVE,
    "cap": POSITIVE,
    "dropout": BELOW_ONE,
    "input_dropout": BELOW_ONE,
    "n_views": Range(least=2),
    "consistency": NOT_NEGATIVE,
    "load_balance": NOT_NEGATIVE,
    "router_z": NOT_NEGATIVE,
    "stochastic_depth": BELOW_ONE,
    "label_smoothing": BELOW_ONE,
    "loss_weight": NOT_NEGATIVE,
    "eps": POSITIVE,
    "init_std": POSITIVE,
    "base": POSITIVE,
}
_OPTIMIZER = {
    "lr": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "betas": BELOW_ONE,
    "momentum": BELOW_ONE,
    "ns_steps": COUNT,
    "layer_decay": SOME_SHARE,
    "lr_of": POSITIVE,
    "warmup_steps": COUNT_OR_NONE,
    "min_factor": SHARE,
    "decay_share": SHARE,
    "decay": SHARE,
}
_DATA = {
    "batch_size": COUNT,
    "tokens_per_batch": COUNT,
    "weight": SOME_SHARE,
    "num_workers": COUNT_OR_NONE,
    "worker_timeout": POSITIVE,
    "max_bad_fraction": SHARE,
    "max_empty_fraction": SHARE,
    "val": BELOW_ONE,
    "test": BELOW_ONE,
    "train_share": SOME_SHARE,
    "val_share": BELOW_ONE,
    "test_share": BELOW_ONE,
    "stride": COUNT,
    "image_size": COUNT,
    "patch_size": COUNT,
    "channels": COUNT,
    "sample_rate": COUNT,
    "n_fft": COUNT,
    "hop_length": COUNT,
    "n_mels": COUNT,
    "f_min": NOT_NEGATIVE,
    "f_max": POSITIVE,
    "frames_per_token": COUNT,
    "node_features": COUNT_OR_NONE,
    "edge_features": COUNT_OR_NONE,
    "max_bytes": COUNT,
    "max_train": COUNT,
    "n_colours": COUNT,
    "levels": Range(least=2),
    "n_train": COUNT_OR_NONE,
    "n_val": COUNT_OR_NONE,
    "n_test": COUNT_OR_NONE,
    "gap": COUNT_OR_NONE,
    "fold": COUNT_OR_NONE,
    "shortest": COUNT,
    "longest": COUNT,
    "per_clip": COUNT,
    "payload": COUNT,
    "letters": Range(least=2, most=26),
    "node_vocab_sizes": COUNT,
    "edge_vocab_sizes": COUNT,
    "drop": BELOW_ONE,
    "share": SOME_SHARE,
    "unchanged": SHARE,
    "random": SHARE,
    "mean_span": COUNT,
    "max_tokens": COUNT,
    "shortest_path": COUNT_OR_NONE,
    "laplacian": COUNT_OR_NONE,
    "random_walk": COUNT_OR_NONE,
    "shift": NOT_NEGATIVE,
    "rotate": NOT_NEGATIVE,
    "scale": NOT_NEGATIVE,
    "flip": SHARE,
    "gain": NOT_NEGATIVE,
}
_CALLBACKS = {
    "patience": COUNT_OR_NONE,
    "min_delta": NOT_NEGATIVE,
    "save_top_k": Range(least=0, also=(-1,)),
    "keep": COUNT,
    "every_minutes": NOT_NEGATIVE,
    "every_seconds": NOT_NEGATIVE,
    "seconds": POSITIVE,
    "max_skips": COUNT_OR_NONE,
    "spike_factor": Range(above=1),
    "every_n_train_steps": COUNT_OR_NONE,
    "every_n_epochs": COUNT_OR_NONE,
}
_GENERATION = {
    "beam": COUNT,
    "n_beams": COUNT,
    "n_best": COUNT,
    "length_penalty": NOT_NEGATIVE,
    "max_new_tokens": COUNT_OR_NONE,
    "temperature": NOT_NEGATIVE,  # of sampling, where 0 is greedy; a contrastive head asks for more than 0 itself
    "guidance": NOT_NEGATIVE,
    "repetition_penalty": POSITIVE,
    "top_p": SOME_SHARE,
    "min_p": SOME_SHARE,
    "n_steps": Range(least=2),
    "drop_text": BELOW_ONE,
}
RANGES = _RUN | _MODEL | _OPTIMIZER | _DATA | _CALLBACKS | _GENERATION

# Numbers that no range suits, each with its reason.
UNBOUNDED = {
    "bias": "a logit; -10 for the sigmoid contrastive loss",
    "noise": "a share of the brightness for pictures, decibels and mostly negative for sounds",
}


# The packages whose parameters mean what the table says: ours, and those whose names we took over.
_PACKAGES = {"omniformer", "omniformer_tokenizers", "lightning", "torch", "torchmetrics"}


def ranged(module: str) -> bool:
    """Whether the table holds for the parameters that a module defines.

    Example:
        >>> ranged("omniformer.adapters.lora"), ranged("mypackage.nets")
        (True, False)
    """
    return module.partition(".")[0] in _PACKAGES


def misfit(name: str, value: object) -> str | None:
    """What a number, or each number of a list or mapping, should have been; None where it fits.

    Example:
        >>> misfit("dropout", 1.0), misfit("dropout", 0.1)
        ('at least 0 and below 1', None)
        >>> misfit("limit_val_batches", 1.5)
        'a share from 0.0 to 1.0, or a whole number of batches, at least 0'
    """
    bounds = RANGES.get(name)
    if bounds is None:
        return None
    if isinstance(value, list | tuple):
        return next((words for each in value if (words := misfit(name, each))), None)
    if isinstance(value, dict):
        return next((words for each in value.values() if (words := misfit(name, each))), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if bounds is SHARE_OR_COUNT and (value < 0 or (isinstance(value, float) and value > 1)):
        return "a share from 0.0 to 1.0, or a whole number of batches, at least 0"
    return None if value in bounds else bounds.words
