"""The text tokenizers of published models, from the files beside their weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omniformer_tokenizers import SubwordTokenizer, Tokenizer
from omniformer_tokenizers.published import PublishedTokenizer

from omniformer.pretrained.checkpoint import read_json

TOKENIZER_FILE, SETTINGS_FILE = "tokenizer.json", "tokenizer_config.json"
GENERATION_FILE = "generation_config.json"
# Classes of the reference whose template of special tokens is what their settings say, whatever the file holds.
_FRAMED = ("LlamaTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer", "TokenizersBackend", "PreTrainedTokenizer")


def text_tokenizer(
    folder: Path,
    config: Mapping[str, Any],
    *,
    modalities: Sequence[str] = ("text",),
    start: int | str | Sequence[int | str] | None = None,
    segments: bool = False,
) -> dict[str, Tokenizer]:
    """The tokenizer of a folder, for each modality that is text; nothing where the folder holds none.

    It is read from `tokenizer.json`; or, in older folders, from `vocab.json` and `merges.txt`, from `vocab.txt`, or from
    the files of the library sentencepiece (`*.model`, `*.spm`).

    Args:
        folder: holds the files.
        config: the content of `config.json`, whose `vocab_size` bounds the ids.
        modalities: under which names: `source` for what a translator reads, `text` for what is written.
        start: from what the model begins to write; by default what `generation_config.json` and `config.json` say.
        segments: whether first and second texts are told apart, as for BERT.

    Raises:
        ValueError: a file is damaged, or has more ids than the model; names the file.
        ImportError: only the library sentencepiece can read the files, and it is not installed.
    """
    settings = _settings(folder)
    known = {**config, **(read_json(folder / GENERATION_FILE) if (folder / GENERATION_FILE).is_file() else {})}
    options: dict[str, Any] = {
        "start": _first(known, "decoder_start_token_id", "bos_token_id", "eos_token_id") if start is None else start,
        "stop": known.get("eos_token_id"),
        "segments": segments,
        "clean_up_spaces": bool(settings.get("clean_up_tokenization_spaces", False)),
    }
    return {}
