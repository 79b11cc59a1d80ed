"""SigLIP's texts, as it was trained on them: in small letters, and padded to the places of the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer_tokenizers import CanonicalTokenizer, PaddedTokenizer, SubwordTokenizer, Tokenizer

from omniformer.pretrained.tokenizers.text import check_size, content, named_settings, text_tokenizer

PIECES_FILE = "spiece.model"


def siglip_texts(folder: Path, config: Mapping[str, Any]) -> dict[str, Tokenizer]:
    """The tokenizer of a folder as the one of modality text; nothing where the folder holds none.

    SigLIP has a file of the library sentencepiece, SigLIP 2 the `tokenizer.json` of Gemma, of which the reference's
    class for it, too, makes small letters first.

    Args:
        folder: holds the files.
        config: of the tower of texts: `vocab_size`, and `max_position_embeddings`, to which texts are padded.

    Raises:
        ValueError: a file is damaged, has more ids than the model, or does not know what texts are padded with; names
            the file.
        ImportError: only the library sentencepiece can read the files, and it is not installed.
    """
    settings, path = named_settings(folder), folder / PIECES_FILE
    if path.is_file():
        lower = bool(settings.get("do_lower_case", True))
        tokenizer: Any = CanonicalTokenizer.from_file(path, stop="</s>", back=["</s>"], lower_case=lower)
        check_size(tokenizer, path, config["vocab_size"])
        pad = "</s>"
    else:
        found = text_tokenizer(folder, {"vocab_size": config["vocab_size"]})
        if not found:
            return {}
        tokenizer, pad = _lowered(found["text"]), "<pad>"
    pad = content(settings.get("pad_token") or pad)
    try:
        id_ = tokenizer.special_id(pad)
    except ValueError as error:
        raise ValueError(f"{folder}: texts are padded with {pad!r}: {error}") from error
    side: Any = settings.get("padding_side", "right")
    length = config["max_position_embeddings"]
    return {"text": PaddedTokenizer(tokenizer=tokenizer, length=length, pad=id_, side=side)}


def _lowered(tokenizer: Any) -> SubwordTokenizer:
    """The same vocabulary over texts in small letters."""
    from tokenizers import normalizers

    model = tokenizer.library_model()
    rest = [] if model.normalizer is None else [model.normalizer]
    model.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])
    return SubwordTokenizer.from_model(model, **tokenizer.config())
