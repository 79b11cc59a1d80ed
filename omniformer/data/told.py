"""What a run says of its data before it begins."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from omniformer.data.balance import class_counts
from omniformer.data.source import SPLITS, Raw
from omniformer.data.stream import Stream

_LOOKED = 10_000  # training samples that are looked at, spread over all of them: pictures may be decoded for it
_LISTED = 12  # classes that are named with their numbers; of more, the rarest and the most frequent


def told(name: str, stream: Stream) -> str:
    """How many samples each split of a data set has, how many training samples are of each class, and what is missing.

    Of more than 10,000 training samples, so many are looked at, which is said. Of a stream that passes by once none is.

    Args:
        name: of the data set.
        stream: feeds it.

    Example:
        >>> from omniformer.data import Digits
        >>> print(told("vision", Stream(source=Digits())))
        vision: 1,258 samples train, 180 validate, 359 test
          10 classes: 0 125, 1 127, 2 124, 3 128, 4 127, 5 127, 6 127, 7 125, 8 122, 9 126
    """
    sizes = {split: len(stream.raws(split)) for split in SPLITS}
    lines = [f"{name}: {sizes['train']:,} samples train, {sizes['val']:,} validate, {sizes['test']:,} test"]
    labels = stream.source.labels
    if stream.source.passes is not None:
        classes = [f"{len(labels):,} classes, not counted: the samples pass by once"] if labels else []
        return "\n  ".join([*lines, *classes])
    every = max(-(-sizes["train"] // _LOOKED), 1)
    places = range(0, sizes["train"], every)
    looked = list(_bare(stream.raws("train"), places))
    of = f" (of {len(places):,} samples that were looked at)" if every > 1 else ""
    if labels and looked:
        lines.append(f"{_classes(looked, labels)}{of}")
    unread = [f"{len(places) - len(looked):,} samples that cannot be read"] if len(looked) < len(places) else []
    if missing := _missing(looked) + unread:
        lines.append(f"missing in training: {', '.join(missing)}{of}")
    return "\n  ".join(lines)


def _bare(raws: Sequence[Raw], places: Iterable[int]) -> Iterator[Raw]:
    """The samples at some places, without what they hold, which may be large; none that cannot be read, which the run
    itself refuses or passes over.
    """
    for place in places:
        try:
            raw = raws[place]
        except ValueError:
            continue
        yield replace(raw, contents=dict.fromkeys(raw.contents), answer=dict.fromkeys(raw.answer))


def _classes(raws: Sequence[Raw], labels: Sequence[str]) -> str:
    """Classes with their numbers, or questions, whose answers have none."""
    if not any("label" in {*raw.targets, *raw.token_targets} or raw.marks for raw in raws):
        kind = "questions" if any("labels" in raw.targets for raw in raws) else "classes"
        return f"{len(labels):,} {kind}"
    counts = sorted(zip(labels, class_counts(raws, len(labels)), strict=True), key=lambda each: each[1])
    none = [label for label, count in counts if not count]
    if len(labels) <= _LISTED:
        numbers = dict(counts)
        return f"{len(labels)} classes: {', '.join(f'{label} {numbers[label]:,}' for label in labels)}"
    (rarest, least), (commonest, most) = counts[0], counts[-1]
    shares = f"each {most:,}" if least == most else f"from {least:,} ({rarest}) to {most:,} ({commonest})"
    empty = f"; {len(none):,} without any: {_some(none)}" if none else ""
    return f"{len(labels):,} classes, {shares}{empty}"


def _missing(raws: Sequence[Raw]) -> list[str]:
    """Modalities, targets and answers that some samples have and others lack, with how many lack them."""
    there: Counter[str] = Counter()
    for raw in raws:
        there.update([*raw.contents, *(f"answer.{each}" for each in raw.answer)])
        there.update(each for each, value in raw.targets.items() if not _unknown(value))
        there.update(dict.fromkeys(raw.targets, 0))
    return [f"{each} of {len(raws) - n:,}" for each, n in there.items() if n < len(raws)]


def _unknown(value: Tensor) -> bool:
    """Whether no number of a target is known."""
    return value.is_floating_point() and bool(value.isnan().all())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
