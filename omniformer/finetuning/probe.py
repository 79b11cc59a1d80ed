"""A fresh head begins where a linear probe of the frozen model ends (LP-FT,
[Kumar et al. 2022](https://arxiv.org/abs/2202.10054)): a random head would first pull the body away from what it knows.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, get_args

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.batch import Batch, Sample, collate
from omniformer.config import ConfigError
from omniformer.data.module import OmniDataModule
from omniformer.data.samples import SampleError, Samples
from omniformer.data.source import Split
from omniformer.linear import Kind, Linear, fit
from omniformer.model import OmniFormer
from omniformer.tasks.task import Task

MOST_SAMPLES = 20_000  # of training; a probe of more takes longer and is hardly another
MOST_TOKENS = 100_000  # where tokens have classes, as neighbours tell much the same
_PASSES = 8  # over a split, each of every eighth sample, so that what a limit leaves is from all over it
_BATCH = 64
_OF_TOKENS = ("label", "mask")  # of a task that classifies tokens


def begin_heads(
    model: OmniFormer,
    tasks: Mapping[str, Task],
    data: OmniDataModule,
    device: torch.device,
    *,
    asked: bool | None = True,
    knows: bool = False,
) -> dict[str, float]:
    """Fits the last map of every fresh head to the features of the training samples, or of their tokens where these
    have the classes; features stay as they are.

    Of several strengths of the penalty the one that validates best counts: for classes by accuracy, as
    `omniformer probe` chooses, else and among equals by the loss; without validation samples it is 0.01.
    Heads that came with weights, or do not learn, are left alone.

    Args:
        model: with the weights that the run begins with.
        tasks: of its members.
        data: of its members, set up.
        device: where features are computed; the model lies on the CPU before and after.
        asked: what `model.probe` says; None fits them if the model knows something.
        knows: whether all but heads of the model came with weights.

    Returns:
        The strength of the penalty of each head that was fitted.

    Raises:
        ConfigError: there is no head that could be fitted, and one was asked for.
    """
    if asked is False or (asked is None and not knows):
        return {}
    learning = model.training
    strengths: dict[str, float] = {}
    for name, task in tasks.items():
        found = _fresh(model, name)
        kind = _kind(task)
        if found is None or kind is None:
            continue
        if data.streams[name].source.passes is not None:
            rank_zero_info(f"{name}: its head begins at zero and not as a linear probe: a stream is read once")
            continue
        model.eval().to(device)
        x, targets = _features(model, name, kind, data, "train")
        validation = _features(model, name, kind, data, "val") if data.streams[name].raws("val") else None
        model.cpu()
        strengths[name] = _fit(found, x, targets, kind, validation)
        of = f" of {len(data.samples(name, 'train')):,} samples" if task.targets else " tokens"
        rank_zero_info(
            f"{name}: its head begins as a linear probe of {len(x):,}{of} (penalty {strengths[name]:g})"
            + ("" if validation is None else f"; {_score(found, *validation, kind)} on validation")
        )
        if smoothing := getattr(task, "label_smoothing", 0.0):
            rank_zero_info(
                f"{name}: task.label_smoothing={smoothing:g} makes a probe unlearn what it is sure of; "
                "task.label_smoothing=0 was better where it was tried"
            )
    model.train(learning)
    if asked and not strengths:
        mistake = (
            "model.probe: no head is there to fit; it is for fresh heads that learn classes, yes-no questions or "
            "numbers of a sample, or classes of tokens; leave it out"
        )
        raise ConfigError([mistake])
    return strengths


def _kind(task: Task) -> Kind | None:
    """What a probe would be fitted to; None where a task learns otherwise."""
    if task.token_targets == _OF_TOKENS:
        return "label"
    kind: Any = task.targets[0] if len(task.targets) == 1 else None
    return kind if kind in get_args(Kind) else None


def _fresh(model: OmniFormer, name: str) -> nn.Linear | None:
    """The last map of a head that learns and has no weights yet: fresh ones are zero, so that all answers are alike."""
    found = model.head(name).last_map
    if found is None or found.bias is None or not found.weight.requires_grad or bool(found.weight.any()):
        return None
    return found


def _fit(last: nn.Linear, x: Tensor, targets: Tensor, kind: Kind, validation: tuple[Tensor, Tensor] | None) -> float:
    """Puts the probe into the map; the strength of its penalty."""

    def better(linear: Linear) -> tuple[float, ...]:
        if validation is None:
            return (0.0,)
        loss = -_loss(linear(validation[0]), validation[1], kind)
        return (_accuracy(linear(validation[0]), validation[1]), loss) if kind == "label" else (loss,)

    options = {} if validation is not None else {"strengths": (1e-2,)}
    linear, strength = fit(x, targets, kind, last.out_features, better=better, **options)
    with torch.no_grad():
        last.weight.copy_(linear.weight)
        last.bias.copy_(linear.bias)
    return strength


def _features(model: OmniFormer, name: str, kind: Kind, data: OmniDataModule, split: Split) -> tuple[Tensor, Tensor]:
    """What the last map of a head reads of each sample of a split, or of each token that has a class, and the targets
    in its units; both on the CPU.
    """
    head = model.head(name)
    last: Any = head.last_map
    given: list[Tensor] = []
    seen: list[Tensor] = []
    targets: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, x: given.append(x[0].detach()))
    try:
        with torch.no_grad():
            for batch in _batches(data, name, split):
                there = batch.to(next(model.parameters()).device)
                model(there, name)
                x, wanted = given.pop(), (there.token_targets if head.per_token else there.targets)[kind]
                if head.per_token:
                    mask = there.token_targets["mask"]
                    x, wanted = x[mask], wanted[mask]
                seen.append(x.float().cpu())
                targets.append((wanted if kind == "label" else head.in_units(wanted.float())).cpu())
                if head.per_token and sum(map(len, seen)) >= MOST_TOKENS:
                    break
    finally:
        hook.remove()
    wanted = torch.cat(targets)
    if kind == "label":  # of mixed samples, the class with the largest share
        return torch.cat(seen), wanted.argmax(-1) if wanted.is_floating_point() else wanted
    return torch.cat(seen), wanted.reshape(len(wanted), -1)


def _batches(data: OmniDataModule, name: str, split: Split) -> Iterator[Batch]:
    """The samples of a split as the first epoch sees them, as many as a probe needs, from all over the split."""
    samples, skip = data.samples(name, split), data.streams[name].on_error == "skip"
    n = min(len(samples), MOST_SAMPLES)
    places = sorted(range(n), key=lambda place: place % _PASSES)
    keys = [(0, place * len(samples) // n) for place in places]
    for begin in range(0, n, _BATCH):
        if read := _read(samples, keys[begin : begin + _BATCH], skip=skip):
            yield collate(read)


def _read(samples: Samples, keys: list[tuple[int, int]], *, skip: bool) -> list[Sample]:
    """Some samples; those that cannot be read are left out, where a run would skip and count them too."""
    try:
        return samples.many(keys)
    except SampleError:
        if not skip:
            raise
    found: list[Sample] = []
    for key in keys:
        with suppress(SampleError):
            found.append(samples(*key))
    return found


def _loss(outputs: Tensor, targets: Tensor, kind: Kind) -> float:
    if kind == "label":
        return float(F.cross_entropy(outputs, targets))
    known = ~targets.isnan()
    if kind == "labels":
        return float(F.binary_cross_entropy_with_logits(outputs[known], targets[known]))
    return float(F.mse_loss(outputs[known], targets[known]))


def _accuracy(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(-1) == targets).float().mean())


def _score(last: nn.Linear, x: Tensor, targets: Tensor, kind: Kind) -> str:
    """How good the map is on other samples, in words."""
    with torch.no_grad():
        outputs = last(x)
    if kind == "label":
        return f"accuracy {_accuracy(outputs, targets):.4f}"
    return f"loss {_loss(outputs, targets, kind):.4f}"
