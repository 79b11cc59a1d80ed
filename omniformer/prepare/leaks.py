"""Rows that hold the same, and rows of validation and test that training has seen, or nearly."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers.media import read_image
from torch.nn import functional as F

from omniformer.data.source import Raw, Split
from omniformer.data.table.splits import digest_of
from omniformer.prepare.molecules import canonical
from omniformer.terminal.progress import counted

COMPARED = 20_000  # rows of texts, molecules and numbers
OPENED = 2_000  # rows of files, which have to be read
HOW = {
    "text": "without case, marks and blanks",
    "vision": "at 16 x 16 pixels and 32 grey levels",
    "audio": "by the bytes of files",
    "graph": "as canonical SMILES where rdkit is there",
}
_NAMED = 10


def leaks(raws: Mapping[Split, Sequence[Raw]]) -> dict[str, Any]:
    """How many rows hold the same as another, within training and across splits, and some of them by id.

    Args:
        raws: some of each split.

    Returns:
        `repeated`: rows of training that repeat another; `contradicting`: those among them with another target;
        `val` and `test`: rows whose content training holds too, with ids; `how` contents are compared; `unreadable`:
        rows whose content cannot be read, each with the cause.
    """
    seen: dict[str, list[Raw]] = defaultdict(list)
    unread: list[str] = []
    trained = raws.get("train", ())
    for raw in counted(trained, "comparing samples", len(trained)):
        seen[_key(raw, unread)].append(raw)
    repeated = [(each, rows[0]) for rows in seen.values() for each in rows[1:]]
    against = [pair for pair in repeated if not _same_targets(*pair)]
    found: dict[str, Any] = {
        "how": {name: HOW.get(name, "exactly") for name in _modalities(raws)},
        "repeated": len(repeated),
        "contradicting": {"rows": len(against), "such_as": [[one.id, other.id] for one, other in against[:_NAMED]]},
    }
    for split in ("val", "test"):
        pairs = [(raw.id, seen[key][0].id) for raw in raws.get(split, ()) if (key := _key(raw, unread)) in seen]
        found[split] = {"rows": len(pairs), "such_as": [list(pair) for pair in pairs[:_NAMED]]}
    return found | {"unreadable": unread}


def _modalities(raws: Mapping[Split, Sequence[Raw]]) -> list[str]:
    return list(dict.fromkeys(name for each in raws.values() for raw in each[:100] for name in raw.contents))


def _same_targets(one: Raw, other: Raw) -> bool:
    return all(torch.equal(value.nan_to_num(), other.targets[name].nan_to_num()) for name, value in one.targets.items())


def _key(raw: Raw, unread: list[str]) -> str:
    parts = {}
    for name, content in raw.contents.items():
        try:
            parts[name] = _KEYS.get(name, _plain)(content)
        except (ValueError, OSError, EOFError) as error:
            unread.append(f"{raw.id}: {' '.join(str(error).split())}")
            parts[name] = f"unreadable {raw.id}"
    return digest_of(parts)


def _text(content: Any) -> Any:
    texts = [content] if isinstance(content, str) else content
    return [" ".join(re.findall(r"\w+", each.casefold())) or each for each in texts]


def _graph(content: Any) -> Any:
    return canonical(content) if isinstance(content, str) else _plain(content)


def _picture(content: Any) -> Any:
    pixels = read_image(content, mode="L") if isinstance(content, str | Path | bytes) else torch.as_tensor(content)
    pixels = pixels.float().reshape(-1, *pixels.shape[-2:]).mean(0)
    small = F.interpolate(pixels[None, None], size=(16, 16), mode="area")
    return (small / 8).round().int().flatten().tolist()


def _bytes(content: Any) -> Any:
    if isinstance(content, str | Path):
        content = Path(content).read_bytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest() if isinstance(content, bytes) else _plain(content)


def _plain(content: Any) -> Any:
    if isinstance(content, tuple | list):
        return [_plain(each) for each in content]
    return content.tolist() if isinstance(content, torch.Tensor) else content


_KEYS: dict[str, Callable[[Any], Any]] = {"text": _text, "graph": _graph, "vision": _picture, "audio": _bytes}
