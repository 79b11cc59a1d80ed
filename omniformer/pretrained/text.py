"""The text tokenizers of published models, from the files beside their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer_tokenizers import BPETokenizer, Tokenizer

TOKENIZER_FILE = "tokenizer.json"


def text_tokenizer(folder: Path, config: Mapping[str, Any]) -> dict[str, Tokenizer]:
    """The tokenizer of a folder as the one of modality text; nothing where the folder holds none.

    Args:
        folder: holds `tokenizer.json`.
        config: the content of `config.json`, whose `vocab_size` bounds the ids.

    Raises:
        ValueError: the file is damaged, or has more ids than the model; names the file.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        return {}
    tokenizer = BPETokenizer.from_file(path)
    if tokenizer.vocab_size > config["vocab_size"]:
        raise ValueError(
            f"{path} has {tokenizer.vocab_size} ids, the model knows vocab_size={config['vocab_size']}: it is the "
            "tokenizer of another model"
        )
    return {"text": tokenizer}
