"""What was found, as a page of text."""

from collections.abc import Iterator, Mapping
from typing import Any

from omniformer.data.source import SPLITS
from omniformer.prepare.balance import in_words

_SHOWN = 10
_CLASSES = 20


def report(found: Mapping[str, Any]) -> str:
    """The findings as people read them.

    Args:
        found: as `Prepared.findings` holds them.
    """
    parts = (_columns, _problems, _splits, _targets, _contents, _leaks, _trivial, _proposal)
    return "\n".join(line for part in parts for line in part(found))


def _columns(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['data']}: {found['rows']:,} rows, {found['looked_at']:,} of them looked at"
    yield ""
    columns = found["columns"]
    width, wide = max(map(len, columns)), max(len(each["role"] or "-") for each in columns.values())
    yield f"{'column':{width}}  {'role':{wide}}  kind"
    for name, each in columns.items():
        empty = f"; {each['missing']:,} empty" if each["missing"] else ""
        out = f"; left out: {each['left_out']}" if each["left_out"] else ""
        yield f"{name:{width}}  {each['role'] or '-':{wide}}  {each['kind']}: {each['why']}{empty}{out}"


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    bad, unread = found["problems"], found["unreadable"]
    if bad:
        yield f"\n{len(bad)} rows cannot be read, and are passed over:"
        yield from (f"  {each}" for each in bad[:_SHOWN])
        yield from [f"  and {len(bad) - _SHOWN} more, all in the JSON"] if len(bad) > _SHOWN else []
    if unread:
        yield f"\n{len(unread)} of {found['opened']:,} samples that were opened cannot be read:"
        yield from (f"  {each}" for each in unread[:_SHOWN])
    for each in found["notes"]:
        yield f"\nnote: {each}"


def _splits(found: Mapping[str, Any]) -> Iterator[str]:
    counts = ", ".join(f"{n:,} {split}" for split, n in found["splits"].items())
    yield f"\nsplit: {counts} ({found['split_by']})"


def _targets(found: Mapping[str, Any]) -> Iterator[str]:
    if classes := found.get("classes"):
        every = list(dict.fromkeys(name for each in classes.values() for name in each))
        yield f"\n{len(every)} classes, rows of train, val, test:"
        for name in every[:_CLASSES]:
            yield f"  {name}: {', '.join(str(classes.get(split, {}).get(name, 0)) for split in SPLITS)}"
        yield from [f"  and {len(every) - _CLASSES} more"] if len(every) > _CLASSES else []
    if shares := found.get("share_of_yes"):
        yield "\nshare of yes in training:"
        yield from (f"  {name}: {share}" for name, share in list(shares.get("train", {}).items())[:_CLASSES])
    for split, values in found.get("values", {}).items():
        for each in values:
            yield f"\nnumbers of {split}: {', '.join(f'{name} {value:,.15g}' for name, value in each.items())}"


def _contents(found: Mapping[str, Any]) -> Iterator[str]:
    for modality, seen in found["contents"].items():
        yield f"\n{modality}, of {seen['looked_at']} samples (least, median, most):"
        for name, value in seen.items():
            if isinstance(value, list) and name != "unreadable":
                yield f"  {name}: {', '.join(f'{each:g}' for each in value)}"
            elif isinstance(value, dict):
                yield f"  {name}: {', '.join(f'{key} ({n})' for key, n in value.items())}"


def _leaks(found: Mapping[str, Any]) -> Iterator[str]:
    seen = found["same"]
    how = "; ".join(f"{name} {each}" for name, each in seen["how"].items())
    yield f"\nequal content, of {seen['compared']:,} rows compared ({how}):"
    against = seen["contradicting"]["rows"]
    yield f"  within training: {seen['repeated']}, {against} of them with another target"
    for split in ("val", "test"):
        pairs = ", ".join(" = ".join(pair) for pair in seen[split]["such_as"][:3])
        yield f"  {split} and training: {seen[split]['rows']}" + (f", such as {pairs}" if pairs else "")


def _trivial(found: Mapping[str, Any]) -> Iterator[str]:
    if told := in_words(found["trivial"]):
        yield f"\na trivial answer scores {told}"
    for name, each in found["trivial"].get("by_question", {}).items():
        yield f"  {name}: {each}"


def _proposal(found: Mapping[str, Any]) -> Iterator[str]:
    run = found["proposal"]
    size = f"core {run['core']}; {run['steps']:,} steps of {run['batch_size']} rows"
    yield f"\nproposed: task {run['task']}, by {run['metric']}; {size}"
    for modality, node in run["tokenizers"].items():
        yield f"  {modality}: {_part(node)}, {_part(run['embedders'][modality])}"
    slower = "".join(f", of {name} {rate:g}" for name, rate in run["lr_of"].items())
    yield f"  rate {run['lr']:g}{slower}"


def _part(node: Mapping[str, Any]) -> str:
    """A part as it is called."""
    told = ", ".join(f"{name}={value}" for name, value in node.items() if name != "_target_")
    return f"{node['_target_'].rpartition('.')[2]}({told})"
