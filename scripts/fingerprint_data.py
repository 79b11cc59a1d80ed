"""Writes what every known set gives as hashes: ids, splits, contents and targets, so that two versions can be compared.

    uv run python scripts/fingerprint_data.py data_root=<folder of data sets> > before.json
    uv run python scripts/fingerprint_data.py data_root=<folder of data sets> --compare before.json [set ...]

Files are decoded as tokenizers decode them: what a run learns from is compared, not how it is stored.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers.media import read_audio, read_image

from omniformer.data.by_name import known, names
from omniformer.data.source import SPLITS, Raw, Source

# Beside each set as it comes, what its own options make of it.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "clinc150": [{"out_of_scope": False}],
    "cora": [{"row_normalise": False}],
    "digits_three_ways": [{"per_clip": 2, "present": ["vision", "audio"]}],
    "emoji": [{"skin_tones": False, "text": "keywords"}],
    "esc10": [{"fold": 1}, {"fold": 3}],
    "fsdd": [{"speaker": "theo"}],
    "mnist": [{"max_train": 20000}],
    "multi30k": [{"source": "de", "target": "en"}],
    "tudataset": [{"fold": 9}, {"dataset": "NCI1"}, {"dataset": "NCI1", "fold": 4}],
}


def fingerprint(found: Source) -> dict[str, Any]:
    """Of each split how many samples there are, and the hashes of their ids, contents and targets, in order."""
    print_of: dict[str, Any] = {"labels": _hash(json.dumps(list(found.labels)).encode())}
    for split in SPLITS:
        ids, contents, targets = (hashlib.sha256() for _ in range(3))
        raws = found.split(split)
        for raw in raws:
            ids.update(raw.id.encode() + b"\n")
            contents.update(_content_of(raw))
            marks = [(each.span, each.words) for each in raw.marks.values()]
            targets.update(b"".join(_bytes([raw.targets, raw.token_targets, marks])))
        print_of[split] = {
            "n": len(raws),
            "ids": ids.hexdigest()[:24],
            "contents": contents.hexdigest()[:24],
            "targets": targets.hexdigest()[:24],
        }
    return print_of


def _content_of(raw: Raw) -> bytes:
    return b"".join(
        part
        for contents in (raw.contents, raw.answer)
        for modality, content in contents.items()
        for part in (modality.encode(), *_bytes(_decoded(modality, content)))
    )


def _decoded(modality: str, content: Any) -> Any:
    if modality == "vision" and isinstance(content, bytes | Path):
        return read_image(content)
    if modality == "audio" and isinstance(content, bytes | Path):
        content = read_audio(content)
    if modality == "audio":
        return content[0].squeeze(), content[1]  # one channel may have an axis or none
    return content


def _bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype}{list(value.shape)}".encode()
        yield value.contiguous().numpy().tobytes()
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield key.encode()
            yield from _bytes(value[key])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _bytes(each)
    else:
        yield repr(value).encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


def main() -> int:
    """Prints the hashes as JSON, or what differs from those of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", help="data_root=<folder>")
    parser.add_argument("sets", nargs="*", help="some sets; all of conf/data where none is named")
    parser.add_argument("--compare", type=Path, help="a file that was written before")
    given = parser.parse_args()
    folder = given.data_root.removeprefix("data_root=")
    prints = {
        f"{name} {json.dumps(options)}" if options else name: fingerprint(known(name, data_root=folder, **options))
        for name in given.sets or names()
        for options in ({}, *OPTIONS.get(name, ()))
    }
    if given.compare is None:
        print(json.dumps(prints, indent=1))
        return 0
    before = json.loads(given.compare.read_text())
    wrong = [name for name, each in prints.items() if before.get(name) != each]
    for name in wrong:
        print(f"{name} differs: {json.dumps(before.get(name))} before, {json.dumps(prints[name])} now")
    print(f"{len(prints) - len(wrong)} of {len(prints)} are as they were", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
