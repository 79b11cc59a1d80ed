"""What the files of a published model say of the texts that it writes."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer.generation.adjusting import NoRepeat
from omniformer.generation.allowed import Allowed
from omniformer.generation.beam import BeamSearch
from omniformer.generation.sampling import Greedy, Sampling
from omniformer.generation.strategy import Strategy
from omniformer.pretrained.files.checkpoint import read_json

GENERATION_FILE = "generation_config.json"
log = logging.getLogger(__name__)


def allowed_ids(folder: Path, config: Mapping[str, Any]) -> Allowed | None:
    """Which ids a model writes, and where; None where its files leave all of that to the model.

    How it chooses among them (beams, penalties, temperatures) is no part of a model: a `Strategy` says it, and
    `usual_writing` which one the files recommend.

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


def usual_writing(said: Mapping[str, Any], source: str) -> dict[str, Any]:
    """How the files of a model recommend that it writes, as options of `generate`; what is not followed is said.

    Args:
        said: the content of `generation_config.json`.
        source: names it in messages.

    Raises:
        ValueError: a value is out of its range; names the file.

    Example:
        >>> usual_writing({"do_sample": True, "temperature": 0.6, "eos_token_id": 2}, "generation_config.json")
        {'strategy': Sampling(temperature=0.6, top_k=50, top_p=None, min_p=None, repetition_penalty=1.0, n=1, seed=0)}
    """
    given = {key: value for key, value in said.items() if value is not None and value != _PLAIN.get(key, _UNSAID)}
    draws, beams = bool(given.pop("do_sample", False)), given.pop("num_beams", 1)
    try:
        if draws and beams == 1:
            # The reference draws among 50 unless its file says otherwise; 0 is no limit.
            given["top_k"] = said.get("top_k", 50) or None
            asked: dict[str, Any] = {"temperature": 1.0} | _taken(
                given, "temperature", "top_k", "top_p", "min_p", *_PENALTY
            )
            strategy: Strategy = Sampling(**asked)
        elif beams > 1 and not draws:
            stopping = {True: "full", "never": "certain"}.get(given.pop("early_stopping", False), "likely")
            strategy = BeamSearch(n_beams=beams, stopping=stopping, **_taken(given, "length_penalty"))  # pyright: ignore
        else:
            given |= {"do_sample": draws, "num_beams": beams} if draws else {}
            strategy = Greedy(**_taken(given, *_PENALTY))
        options: dict[str, Any] = {"strategy": strategy, **_taken(given, "max_new_tokens", "min_new_tokens")}
        if n := given.pop("no_repeat_ngram_size", 0):
            options["adjust"] = (NoRepeat(n),)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from error
    if left := [f"{key}={value!r}" for key, value in given.items() if key not in _ELSEWHERE]:
        log.warning("%s: not followed: %s", source, ", ".join(left))
    return options


_UNSAID = object()
_PENALTY = ("repetition_penalty",)
# Values that ask for nothing.
_PLAIN: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "use_cache": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "return_dict_in_generate": False,
    "typical_p": 1.0,
    "diversity_penalty": 0.0,
    "remove_invalid_values": False,
}
# Keys that say ids, which the tokenizer and `allowed_ids` read, or nothing of how a text is written.
_ELSEWHERE = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "bad_words_ids", "suppress_tokens"),
    *("begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids", "lang_to_id"),
    *("task_to_id", "language", "task", "no_timestamps_token_id", "is_multilingual", "_from_model_config"),
    *("transformers_version", "trust_remote_code", "early_stopping"),
}


def _taken(given: dict[str, Any], *names: str) -> dict[str, Any]:
    """Some of the keys, taken out."""
    return {name: given.pop(name) for name in names if name in given}


def _one(ids: Any) -> int | None:
    """One of several ids that end a text: the first."""
    return ids[0] if isinstance(ids, list) else ids
