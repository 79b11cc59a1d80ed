"""What the files of a published model say of the texts that it writes."""

import logging
import sys
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
_MOST_BYTES = 1_000_000  # of the file; the longest ones, of translators with their languages, have some ten thousand
_MOST_NEW, _MOST_BEAMS = 1 << 20, 256


def read_generation(folder: Path) -> dict[str, Any]:
    """What `generation_config.json` says; nothing where there is none.

    Args:
        folder: of a published model.

    Raises:
        ValueError: the file is damaged, or far longer than what it is there to say; names it.
    """
    path = folder / GENERATION_FILE
    if not path.is_file():
        return {}
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; at most {_MOST_BYTES:,} are read of what says how to write")
    return read_json(path)


def known_ids(said: Any, vocab_size: int, what: str) -> Any:
    """One id or several as a file gives them, without those that the model does not know, which are named in a warning.

    Args:
        said: an id, a list of them, or None; special tokens as texts pass, for the vocabulary to judge.
        vocab_size: how many ids the model knows.
        what: names file and key in messages.

    Raises:
        ValueError: there is something else among them.

    Example:
        >>> known_ids([2, 7], 10, "generation_config.json: eos_token_id")
        [2, 7]
    """
    ids = said if isinstance(said, list) else [] if said is None else [said]
    if odd := [each for each in ids if not (_is_whole(each) or isinstance(each, str))]:
        raise ValueError(f"{what} is {_short(odd[0])}; accepted: an id, a whole number of at least 0, or a list of ids")
    if left := [each for each in ids if _is_whole(each) and not 0 <= each < vocab_size]:
        told = f"{', '.join(map(str, left[:3]))}{', ...' if len(left) > 3 else ''}"
        log.warning("%s: left out: %s; the model knows the %s ids from 0", what, told, vocab_size)
    kept = [each for each in ids if isinstance(each, str) or 0 <= each < vocab_size]
    return kept if isinstance(said, list) else kept[0] if kept else None


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
    known = {**config, **read_generation(folder)}
    source = path if path.is_file() else folder
    words = _listed(known, "bad_words_ids", source)
    if odd := [word for word in words if not isinstance(word, list)]:
        raise ValueError(f"{source}: bad_words_ids holds {_short(odd[0])}; accepted: lists of ids")
    if longer := [word for word in words if len(word) > 1]:
        log.warning("%s: bad_words_ids forbids %s; sequences of ids are not forbidden here", path, longer[0])
    never = [*(word[0] for word in words if len(word) == 1), *_listed(known, "suppress_tokens", source)]
    never_first = _listed(known, "begin_suppress_tokens", source)
    first, last = known.get("forced_bos_token_id"), _one(known.get("forced_eos_token_id"))
    named = [*never, *never_first, *(each for each in (first, last) if each is not None)]
    if odd := [each for each in named if not _is_whole(each) or each < 0]:
        told = "accepted: whole numbers of at least 0"
        raise ValueError(f"{source}: the ids that may be written are damaged: {_short(odd[0])}; {told}")
    if isinstance(size := config.get("vocab_size"), int):
        size = max(size, config.get("decoder_vocab_size") or 0)
        never, never_first = (known_ids(ids, size, f"{source}: suppressed") for ids in (never, never_first))
        if beyond := [each for each in (first, last) if each is not None and each >= size]:
            raise ValueError(f"{source}: the id {beyond[0]} must be written, and the model knows only {size}")
    allowed = Allowed(never=tuple(never), never_first=tuple(never_first), first=first, last=last)
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
    if not isinstance(said, Mapping):
        raise ValueError(f"{source} holds a {type(said).__name__}, expected a JSON object")
    given = {key: value for key, value in said.items() if value is not None and value != _PLAIN.get(key, _UNSAID)}
    _check_values(given, source)
    if given.get("max_new_tokens", 0) > _MOST_NEW:
        log.warning("%s: left out: max_new_tokens=%s, more than %s", source, given.pop("max_new_tokens"), _MOST_NEW)
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
    if left := [f"{_short(key)[1:-1]}={_short(value)}" for key, value in given.items() if key not in _ELSEWHERE]:
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


def _one(ids: Any) -> Any:
    """One of several ids that end a text: the first."""
    return next(iter(ids), None) if isinstance(ids, list) else ids


# The least of each number that counts.
_WHOLE = {"top_k": 0, "num_beams": 1, "max_new_tokens": 0, "min_new_tokens": 0, "no_repeat_ngram_size": 0}
_REAL = ("temperature", "top_p", "min_p", "repetition_penalty", "length_penalty")


def _check_values(given: Mapping[str, Any], source: str) -> None:
    """Refuses texts, lists and what is not finite where a number belongs, and counts that nobody can follow.

    Raises:
        ValueError: names the file, the key and the value.
    """
    if not isinstance(draws := given.get("do_sample", False), bool):
        raise ValueError(f"{source}: do_sample={_short(draws)} must be true or false")
    if not isinstance(stopping := given.get("early_stopping", False), bool) and stopping != "never":
        raise ValueError(f"{source}: early_stopping={_short(stopping)} must be true, false or 'never'")
    for key, low in _WHOLE.items():
        if key in given and not (_is_whole(given[key]) and low <= given[key]):
            raise ValueError(f"{source}: {key}={_short(given[key])} must be a whole number of at least {low}")
    if given.get("num_beams", 1) > _MOST_BEAMS:
        raise ValueError(f"{source}: num_beams={_short(given['num_beams'])} must be at most {_MOST_BEAMS}")
    for key in _REAL:
        value = given.get(key, 1.0)
        # JSON knows whole numbers that no float is as large as.
        if not (_is_whole(value) or isinstance(value, float)) or not abs(value) <= _LARGEST:
            raise ValueError(f"{source}: {key}={_short(value)} must be a finite number")


_LARGEST = sys.float_info.max


def _listed(known: Mapping[str, Any], key: str, source: object) -> list[Any]:
    """A list that may be left out."""
    if not isinstance(said := known.get(key), list | None):
        raise ValueError(f"{source}: {key}={_short(said)}; accepted: a list")
    return said or []


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    """A value as a message shows it."""
    return said if len(said := repr(value)) <= 60 else f"{said[:57]}..."
