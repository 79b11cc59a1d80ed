"""What the files of a published model say of the texts that it writes."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer.generation.allowed import Allowed
from omniformer.pretrained.files.checkpoint import read_json

GENERATION_FILE = "generation_config.json"
log = logging.getLogger(__name__)


def allowed_ids(folder: Path, config: Mapping[str, Any]) -> Allowed | None:
    """Which ids a model writes, and where; None where its files leave all of that to the model.

    How it chooses among them (beams, penalties, temperatures) is no part of a model: a `Strategy` says it.

    Args:
        folder: may hold `generation_config.json`, which goes before `config.json`.
        config: the content of `config.json`, where older files have the same keys.

    Raises:
        ValueError: the file is damaged, or holds what are no ids; names it.
    """
    path = folder / GENERATION_FILE
    known = {**config, **(read_json(path) if path.is_file() else {})}
    words = known.get("bad_words_ids") or []
    if longer := [word for word in words if len(word) > 1]:
        log.warning("%s: bad_words_ids forbids %s; sequences of ids are not forbidden here", path, longer[0])
    try:
        allowed = Allowed(
            never=(*(word[0] for word in words if len(word) == 1), *(known.get("suppress_tokens") or ())),
            never_first=tuple(known.get("begin_suppress_tokens") or ()),
            first=known.get("forced_bos_token_id"),
            last=_one(known.get("forced_eos_token_id")),
        )
    except (TypeError, ValueError) as error:
        source = path if path.is_file() else folder
        raise ValueError(f"{source}: the ids that may be written are damaged: {error}") from error
    return None if allowed == Allowed() else allowed


def _one(ids: Any) -> int | None:
    """One of several ids that end a text: the first."""
    return ids[0] if isinstance(ids, list) else ids
