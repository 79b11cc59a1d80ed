"""How byte-level vocabularies write bytes as characters, and what such a vocabulary must have."""

from typing import Any


def character_of_byte() -> dict[int, str]:
    """GPT-2's printable stand-ins for bytes: printable Latin-1 stands for itself, the rest from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def byte_table(model: Any) -> tuple[bytes, ...]:
    """The bytes that each id of a byte-level model stands for; none for a special token.

    Raises:
        KeyError: a token holds a character that stands for no byte.
    """
    byte_of = {character: byte for byte, character in character_of_byte().items()}
    added = model.get_added_tokens_decoder()
    table = [b""] * model.get_vocab_size()
    for token, i in model.get_vocab().items():
        if i not in added:
            table[i] = bytes([byte_of[character] for character in token])
        elif not added[i].special:
            table[i] = token.encode()
    return tuple(table)


def read_model(text: str, source: str) -> Any:
    """The `tokenizers.Tokenizer` of a `tokenizer.json`, once it is sure that no text is lost and nothing is random.

    Args:
        text: the content of the file.
        source: names it in messages.

    Raises:
        ValueError: the text is not such a file, a byte has no token, or merges are dropped at random.
    """
    from tokenizers import Tokenizer as Model

    try:
        model = Model.from_str(text)
        table = byte_table(model)
    except BaseException as error:  # the library raises bare Exception, and panics as a BaseException
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{source} is not a byte-level tokenizer.json: {error!r}") from error
    if missing := {bytes([b]) for b in range(256)} - set(table):
        raise ValueError(f"{source} has no token for {len(missing)} of the 256 bytes, so it would lose text")
    if getattr(model.model, "dropout", None):
        raise ValueError(f"{source} drops merges at random (dropout={model.model.dropout}); ids must be deterministic")
    return model
