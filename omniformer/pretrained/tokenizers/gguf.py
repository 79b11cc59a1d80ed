"""The vocabulary inside a GGUF file, as the files that the reference library keeps beside weights."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from omniformer.pretrained.tokenizers.text import SETTINGS_FILE, TOKENIZER_FILE

_UNKNOWN, _CONTROL, _USER = 2, 3, 4
_MARK = "\N{LOWER ONE EIGHTH BLOCK}"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
# By `tokenizer.ggml.pre`: how text is cut before pieces are joined; None as GPT-2 does.
_CUTS: dict[str, str | None] = {
    "gpt-2": None,
    "llama-bpe": _SHORT + _LETTERS + r"\p{N}{1,3}|" + _REST,
    "llama-v3": _SHORT + _LETTERS + r"\p{N}{1,3}|" + _REST,
    "llama3": _SHORT + _LETTERS + r"\p{N}{1,3}|" + _REST,
    "qwen2": _SHORT + _LETTERS + r"\p{N}|" + _REST,
}


def tokenizer_files(fields: Mapping[str, Any]) -> dict[str, str]:
    """`tokenizer.json` and `tokenizer_config.json` by name; none where the file holds no vocabulary.

    Args:
        fields: the keys of the file.

    Raises:
        ValueError: a vocabulary that is not read, or lists of different lengths.
    """
    kind = fields.get("tokenizer.ggml.model")
    if kind is None or kind == "none":
        return {}
    if kind not in ("gpt2", "llama"):
        raise ValueError(f"tokenizer.ggml.model={kind!r} is not read; accepted: gpt2, llama")
    tokens = _need(fields, "tokens", str)
    types = _need(fields, "token_type", int) if "tokenizer.ggml.token_type" in fields else [1] * len(tokens)
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise ValueError(
            f"tokenizer.ggml has {len(tokens)} tokens, {len(set(tokens))} of them different, and {len(types)} types"
        )
    described = _byte_pairs(fields, tokens) if kind == "gpt2" else _pieces(fields, tokens)
    named = {_CONTROL: True, _USER: False} | ({_UNKNOWN: True} if kind == "llama" else {})
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": i, "content": token, "special": named[each], **flags}
        for i, (token, each) in enumerate(zip(tokens, types, strict=True))
        if each in named
    ]
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "post_processor": None}
    return {
        TOKENIZER_FILE: json.dumps(whole | described, ensure_ascii=False),
        SETTINGS_FILE: json.dumps(_settings(fields, tokens, kind), ensure_ascii=False),
    }


def _need(fields: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    """A list of things of one kind."""
    found = fields.get(f"tokenizer.ggml.{name}")
    if not isinstance(found, list) or not all(isinstance(each, kind) for each in found):
        raise ValueError(f"it lacks the list tokenizer.ggml.{name} of {kind.__name__}")
    return found


def _id(fields: Mapping[str, Any], name: str, tokens: Sequence[str]) -> int | None:
    """A special id, where the file names one."""
    found = fields.get(f"tokenizer.ggml.{name}_token_id")
    if found is not None and not (isinstance(found, int) and 0 <= found < len(tokens)):
        raise ValueError(f"tokenizer.ggml.{name}_token_id={found!r} is none of its {len(tokens)} tokens")
    return found


def _settings(fields: Mapping[str, Any], tokens: Sequence[str], kind: str) -> dict[str, Any]:
    """What stands around a text, and how conversations become one."""
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizer"}
    usual = kind == "llama" or str(fields.get("tokenizer.ggml.pre")).startswith("llama")
    for name, default in (("bos", usual), ("eos", False)):
        settings[f"add_{name}_token"] = bool(fields.get(f"tokenizer.ggml.add_{name}_token", default))
        if (i := _id(fields, name, tokens)) is not None:
            settings[f"{name}_token"] = tokens[i]
    if template := fields.get("tokenizer.chat_template"):
        settings["chat_template"] = template
    return settings


def _byte_pairs(fields: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, Any]:
    """Pairs of bytes, as in GPT-2."""
    pre = fields.get("tokenizer.ggml.pre", "gpt-2")
    if pre not in _CUTS:
        raise ValueError(f"tokenizer.ggml.pre={pre!r} is not read; accepted: {', '.join(_CUTS)}")
    whole = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": _CUTS[pre] is None}
    cut: dict[str, Any] = whole
    if _CUTS[pre] is not None:
        split = {"type": "Split", "pattern": {"Regex": _CUTS[pre]}, "behavior": "Isolated", "invert": False}
        cut = {"type": "Sequence", "pretokenizers": [split, whole]}
    merges = [each.split(" ") for each in _need(fields, "merges", str)]
    if wrong := [pair for pair in merges if len(pair) != 2]:
        raise ValueError(f"tokenizer.ggml.merges has {' '.join(wrong[0])!r}, which is no pair")
    return {
        "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
        "pre_tokenizer": cut,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": _model(tokens, merges, ignore_merges=pre.startswith("llama")),
    }


def _pieces(fields: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, Any]:
    """Pieces of the library sentencepiece, joined in the order of their scores; blanks are marked."""
    scores = dict(zip(tokens, _need(fields, "scores", float), strict=False))
    if len(scores) != len(tokens):
        raise ValueError(f"tokenizer.ggml has {len(tokens)} tokens and {len(scores)} scores")
    places = {token: i for i, token in enumerate(tokens)}
    pairs = [
        (piece, piece[:i], piece[i:])
        for piece in tokens
        for i in range(1, len(piece))
        if piece[:i] in places and piece[i:] in places
    ]
    pairs.sort(key=lambda pair: (-scores[pair[0]], places[pair[1]], places[pair[2]]))
    before = [{"type": "Prepend", "prepend": _MARK}] if fields.get("tokenizer.ggml.add_space_prefix", True) else []
    blanks = {"type": "Replace", "pattern": {"String": " "}, "content": _MARK}
    unknown = _id(fields, "unknown", tokens)
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": _MARK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if before:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*before, blanks]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _model(
            tokens,
            [[left, right] for _, left, right in pairs],
            byte_fallback=True,
            fuse_unk=True,
            unk_token=None if unknown is None else tokens[unknown],
        ),
    }


def _model(tokens: Sequence[str], merges: Sequence[Sequence[str]], **options: Any) -> dict[str, Any]:
    """The model of a `tokenizer.json`."""
    usual = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    return usual | options | {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges}
