"""CLINC150: what a user wants of an assistant, and queries that are none of its business."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from omniformer.data.sets.reading import laid_out_or_original, text_in
from omniformer.data.source import SPLITS, Raw, Source, Split

URL = "https://raw.githubusercontent.com/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data/data_full.json"
SHA256 = "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0"
OUT_OF_SCOPE = "oos"


class Clinc150(Source):
    """Queries to an assistant with 150 intents (Larson et al. 2019, https://aclanthology.org/D19-1131), official split.

    15,000 train, 3,000 validation and 4,500 test queries, equally many of each intent; and 100, 100 and 1,000 that are
    out of scope. Read from `clinc150/data_full.json.gz`, or else from the publisher's `clinc150/data_full.json`; both
    give the same samples.

    Args:
        data_root: the folder that holds `clinc150`; None means the current folder.
        download: fetch the original where no file lies there; off, so that no run reaches out unasked.
        out_of_scope: whether the out-of-scope queries take part in all splits, as the last class `oos`, as in the
            paper's main table; without them there are 150 classes.

    Raises:
        FileNotFoundError: there is no file, and `download` is off.
        ValueError: the file is damaged, a text is empty, or an intent has no training text; names file and sample.

    Example:
        >>> Clinc150(data_root="data", out_of_scope=False).name
        'Clinc150'
    """

    modalities = ("text",)

    def __init__(self, *, data_root: str | None = None, download: bool = False, out_of_scope: bool = True) -> None:
        self.data_root = data_root
        self.download = download
        self.out_of_scope = out_of_scope

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the intents, sorted, and `oos` behind them where it takes part."""
        intents = sorted({intent for _, intent in self._queries["train"]} - {OUT_OF_SCOPE})
        return (*intents, OUT_OF_SCOPE) if self.out_of_scope else tuple(intents)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order: those in scope first."""
        return self._splits[name]

    @cached_property
    def _file(self) -> Path:
        return laid_out_or_original(
            "clinc150/data_full.json.gz",
            "clinc150/data_full.json",
            data_root=self.data_root,
            url=URL,
            sha256=SHA256,
            download=self.download,
        )

    @cached_property
    def _queries(self) -> dict[str, list[tuple[str, str]]]:
        try:
            read = json.loads(text_in(self._file))
        except json.JSONDecodeError as error:
            raise ValueError(f"{self._file} is not JSON: {error}") from error
        return {key: _checked(read, key, self._file) for name in SPLITS for key in (name, f"oos_{name}")}

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        number = {label: torch.tensor(i) for i, label in enumerate(self.labels)}
        splits: dict[Split, list[Raw]] = {}
        for name in SPLITS:
            splits[name] = []
            for key in (name, f"oos_{name}") if self.out_of_scope else (name,):
                for row, (text, intent) in enumerate(self._queries[key]):
                    if intent not in number or (intent == OUT_OF_SCOPE) != (key != name):
                        raise ValueError(
                            f"{self._file}: query {row} of {key!r} has the intent {intent!r}; expected "
                            + (f"one of the {len(number)} of 'train'" if key == name else repr(OUT_OF_SCOPE))
                        )
                    id = f"clinc150/{key}/{row}"
                    splits[name].append(Raw(id=id, contents={"text": text}, targets={"label": number[intent]}))
        return splits


def _checked(read: Any, key: str, file: Path) -> list[tuple[str, str]]:
    """One list of queries with their intents."""
    queries = read.get(key) if isinstance(read, dict) else None
    if not isinstance(queries, list):
        raise ValueError(f"{file} has no list {key!r}; expected lists of [text, intent] by the name of the split")
    for row, query in enumerate(queries):
        if not (isinstance(query, list) and len(query) == 2 and all(isinstance(x, str) and x.strip() for x in query)):
            raise ValueError(f"{file}: query {row} of {key!r} is {query!r}; expected [text, intent], neither empty")
    return [(text, intent) for text, intent in queries]
