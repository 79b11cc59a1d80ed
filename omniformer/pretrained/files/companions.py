"""The small files beside published weights: vocabularies, and how pictures, sounds and answers are made."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

PATTERNS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "target_vocab.json",
    "merges.txt",
    "*.model",
    "*.spm",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "normalizer.json",
    "chat_template.*",
)
"""Shell patterns of their names. None of them is a pickle, and none is run."""

MODULES_FILE = "modules.json"
SETTINGS_FILE = "config_sentence_transformers.json"
LENGTH_FILES = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json")
"""Of the library sentence-transformers: the steps of its model, each with a folder, its prompts, its longest text."""


def read_companions(folder: Path) -> dict[str, bytes]:
    """The files by name, as they are.

    Args:
        folder: of a published model.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in paths if any(fnmatchcase(path.name, each) for each in PATTERNS)}


def write_companions(files: Mapping[str, bytes], folder: Path) -> None:
    """Puts the files beside weights, so that the reference library finds the vocabulary that belongs to them.

    Args:
        files: from `read_companions`.
        folder: is there already.
    """
    for name, content in files.items():
        (folder / name).write_bytes(content)
