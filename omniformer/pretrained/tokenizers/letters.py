"""Vocabularies of letters, which models of speech write: `vocab.json` alone."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer.pretrained.files.checkpoint import read_json

ADDED_FILE = "added_tokens.json"
# What the reference takes the special tokens for where the files do not name them.
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
# What the reference takes other settings for; only these values are read.
_ONLY: dict[str, Any] = {"do_lower_case": False, "target_lang": None, "replace_word_delimiter_char": " "}


def spelled(folder: Path, path: Path, settings: Mapping[str, Any]) -> str:
    """Such a vocabulary as the content of a `tokenizer.json`.

    Each letter is a token, a mark of its own stands between words. As in the reference, special tokens that a model
    writes are part of the text; unlike there, text that spells one stays text.

    Args:
        folder: may hold tokens that were added later.
        path: the file of the vocabulary.
        settings: the content of `tokenizer_config.json`.

    Raises:
        ValueError: the file is damaged, has a vocabulary for each of several languages, or letters are changed on their
            way; names the file.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    for key, accepted in _ONLY.items():
        if settings.get(key, accepted) != accepted:
            raise ValueError(f"{path}: its tokenizer_config.json has {key}={settings[key]!r}; accepted: {accepted!r}")
    vocab = read_json(path)
    if nested := next((name for name, i in vocab.items() if not isinstance(i, int)), None):
        raise ValueError(f"{path} has no id for {nested!r}: one vocabulary is read, of letters with their ids")
    added = {_content(each): int(i) for i, each in (settings.get("added_tokens_decoder") or {}).items()}
    vocab |= added | (read_json(folder / ADDED_FILE) if (folder / ADDED_FILE).is_file() else {})
    special = {_content(settings.get(name) or default) for name, default in _SPECIAL.items()}
    between = _content(settings.get("word_delimiter_token") or "|")
    # Several letters that are one token are not cut.
    whole = sorted((each for each in vocab if len(each) > 1 and each not in special), key=len, reverse=True)
    model: Any = Tokenizer(models.WordLevel(vocab, unk_token=_content(settings.get("unk_token") or "<unk>")))
    # As in the reference, blanks beside those are lost.
    lost: list[Any] = [normalizers.Replace(Regex(rf"\s*{re.escape(each)}\s*"), each) for each in whole]
    model.normalizer = normalizers.Sequence([*lost, normalizers.Replace(" ", between)])
    model.pre_tokenizer = pre_tokenizers.Split(Regex("|".join([*map(re.escape, whole), r"[\s\S]"])), "isolated")
    ends = decoders.Replace(Regex(r"\A\s+|\s+\z"), "")
    model.decoder = decoders.Sequence([decoders.Replace(between, " "), decoders.Fuse(), ends])
    return model.to_str()


def _content(token: Any) -> str:
    """The text of a special token, which files write as such or as a table of its properties."""
    return token["content"] if isinstance(token, Mapping) else str(token)
