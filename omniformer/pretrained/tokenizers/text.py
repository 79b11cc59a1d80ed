"""The text tokenizers of published models, from the files beside their weights."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omniformer_tokenizers import SentencePieceTokenizer, SubwordTokenizer, Tokenizer
from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.text.published import PublishedTokenizer

from omniformer.pretrained.files.checkpoint import CONFIG_FILE, read_json
from omniformer.pretrained.files.writing import GENERATION_FILE, known_ids, read_generation
from omniformer.pretrained.tokenizers.old_vocabularies import described, template

TOKENIZER_FILE, SETTINGS_FILE, SPECIAL_FILE = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
SOURCE_FILE, TARGET_FILE, IDS_FILE, TARGET_IDS_FILE = "source.spm", "target.spm", "vocab.json", "target_vocab.json"
PIECES_FILES = ("spiece.model", "tokenizer.model")
# Classes of the reference whose settings say what stands around a text, whatever the file of the vocabulary holds.
_FRAMED_BY_SETTINGS = ("LlamaTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer", "TokenizersBackend", "PreTrainedTokenizer")
_NAMED = ("bos_token", "eos_token", "unk_token", "cls_token", "sep_token", "mask_token")
_TIMESTAMP = re.compile(r"<\|\d+\.\d\d\|>")


def text_tokenizer(
    folder: Path,
    config: Mapping[str, Any],
    *,
    modalities: Sequence[str] = ("text",),
    start: int | str | Sequence[int | str] | None = None,
    placeholders: Mapping[str, int] | None = None,
    tiles: Mapping[str, str] | None = None,
) -> dict[str, Tokenizer]:
    """The tokenizer of a folder under each name that text has in the model; nothing where the folder holds none.

    It is read from `tokenizer.json`; in older folders from `vocab.json` and `merges.txt`, from `vocab.txt`, or from the
    files of the library sentencepiece. A translator's `source.spm` is what is read first, its `target.spm` what is
    written.

    Args:
        folder: holds the files.
        config: the content of `config.json`, which bounds the ids (`vocab_size`) and says from what the model begins to
            write and with what it stops. `generation_config.json` may say so too, and is believed first.
        modalities: what the model calls its texts; what it writes is the last one.
        start: from what the model begins to write, where the files do not say.
        placeholders: by modality, the id that stands in texts for a picture or sound; of a `tokenizer.json` only, like
            the next.
        tiles: what stands around the tiles of a picture; see `SubwordTokenizer`.

    Raises:
        ValueError: a file is damaged, or has more ids than the model; names the file.
        ImportError: only the library sentencepiece can read the files, and it is not installed.
    """
    settings = named_settings(folder)
    said = {key: value for key, value in read_generation(folder).items() if value is not None}
    known, size = {**config, **said}, max(config["vocab_size"], config.get("decoder_vocab_size") or 0)
    ids = {
        name: known_ids(known.get(name), size, f"{folder / (GENERATION_FILE if name in said else CONFIG_FILE)}: {name}")
        for name in ("decoder_start_token_id", "bos_token_id", "eos_token_id")
    }
    begins = ids.values()
    options: dict[str, Any] = {
        "start": next((each for each in begins if each is not None), None) if start is None else start,
        "stop": ids["eos_token_id"],
        "segments": config.get("type_vocab_size", 1) > 1,
        "clean_up_spaces": bool(settings.get("clean_up_tokenization_spaces")),
    }
    if (folder / SOURCE_FILE).is_file():
        return _translators(folder, config, modalities, options)
    of_json = {"placeholders": placeholders, "tiles": tiles}
    found = _one(folder, config, settings, options, {name: each for name, each in of_json.items() if each})
    if found is None:
        return {}
    tokenizer, path = found
    check_size(tokenizer, path, config["vocab_size"])
    return dict.fromkeys(modalities, tokenizer)


def _one(
    folder: Path,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    of_json: Mapping[str, Any],
) -> tuple[PublishedTokenizer, Path] | None:
    """The tokenizer of a folder that has one, and its file."""
    path = folder / TOKENIZER_FILE
    if path.is_file():
        chat = _chat(folder, settings)
        tokenizer = SubwordTokenizer.from_text(_as_set(path, settings), str(path), **options, **chat, **of_json)
        _check_named(tokenizer, path, settings)
        return tokenizer, path
    model_type = config.get("model_type", "")
    if (old := described(folder, model_type, settings)) is not None:
        text, path = old
        return SubwordTokenizer.from_text(text, str(path), **options, **_chat(folder, settings)), path
    for path in (folder / name for name in PIECES_FILES):
        if path.is_file():
            return SentencePieceTokenizer.from_file(path, **options, **_pieces(model_type, settings)), path
    return None


def _as_set(path: Path, settings: Mapping[str, Any]) -> str:
    """The content of a `tokenizer.json`, changed as `tokenizer_config.json` wants it."""
    content = read_json(path)
    added = content.get("added_tokens")
    stamps = [each for each in added or () if isinstance(each, dict) and _TIMESTAMP.fullmatch(str(each.get("content")))]
    for each in stamps:
        each["special"] = True  # Whisper's points in time are no text
    kind = str(settings.get("tokenizer_class", "")).removesuffix("Fast")
    asked = {name for name in ("add_bos_token", "add_eos_token") if name in settings}
    if asked and kind in _FRAMED_BY_SETTINGS:
        content["post_processor"] = None
        content = json.loads(_framed(json.dumps(content), str(path), settings))
    elif not stamps:
        return read_text(path)
    return json.dumps(content)


def _framed(text: str, source: str, settings: Mapping[str, Any]) -> str:
    """A `tokenizer.json` whose texts begin and end as the settings say."""
    tokenizer = SubwordTokenizer.from_text(text, source)
    model = tokenizer.library_model()
    front, back = (
        [content(settings[token])] if settings.get(flag) and settings.get(token) else []
        for flag, token in (("add_bos_token", "bos_token"), ("add_eos_token", "eos_token"))
    )
    try:
        model.post_processor = template(model, front, back, between=[*back, *front], kinds=(0, 1))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return model.to_str()


def _chat(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How conversations become text, where the folder says so."""
    said: Any = settings.get("chat_template") or _json(folder / "chat_template.json").get("chat_template")
    if (path := folder / "chat_template.jinja").is_file():
        said = read_text(path)
    if not said:
        return {}
    templates = {each["name"]: each["template"] for each in said} if isinstance(said, list) else {"default": said}
    tokens = {key: each for key, each in settings.items() if key.endswith("_token") and isinstance(each, str | Mapping)}
    return {"chat": {"templates": templates, "names": {key: content(each) for key, each in tokens.items()}}}


def _pieces(model_type: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of sentencepiece does not say: the special tokens around texts, and those behind its pieces."""
    if model_type in ("t5", "mt5"):
        return {"back": ["</s>"], "extra": settings.get("extra_ids", 100)}
    return {
        "front": ["<s>"] if settings.get("add_bos_token", True) else [],
        "back": ["</s>"] if settings.get("add_eos_token", False) else [],
    }


def _translators(
    folder: Path, config: Mapping[str, Any], modalities: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Tokenizer]:
    """Marian's two vocabularies."""
    own = (folder / TARGET_IDS_FILE).is_file()
    found: dict[str, Tokenizer] = {}
    for modality in modalities:
        written = modality == modalities[-1]
        path = folder / (TARGET_FILE if written else SOURCE_FILE)
        ids = folder / (TARGET_IDS_FILE if written and own else IDS_FILE)
        if missing := [each for each in (path, ids) if not each.is_file()]:
            raise ValueError(f"{folder} holds {SOURCE_FILE}, but no {missing[0].name}; copy the folder anew")
        tokenizer = SentencePieceTokenizer.from_file(path, ids=ids, back=["</s>"], **options)
        size = (written and own and config.get("decoder_vocab_size")) or config["vocab_size"]
        check_size(tokenizer, ids, size)
        found[modality] = tokenizer
    return found


def check_size(tokenizer: PublishedTokenizer, path: Path, vocab_size: int) -> None:
    """That a model knows all ids of a vocabulary.

    Raises:
        ValueError: it does not; names the file.
    """
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(
            f"{path} has ids up to {tokenizer.vocab_size - 1}, the model knows vocab_size={vocab_size}: it is the "
            "tokenizer of another model"
        )


def _check_named(tokenizer: SubwordTokenizer, path: Path, settings: Mapping[str, Any]) -> None:
    """That the special tokens of the settings are tokens of the vocabulary: files of two models differ in them.

    Padding is left out: it is often named by those who need it, and never read here.
    """
    known = tokenizer.library_model()
    for key in _NAMED:
        if settings.get(key) and known.token_to_id(content(settings[key])) is None:
            raise ValueError(
                f"{path} has no {content(settings[key])!r}, which {SETTINGS_FILE} calls its {key}: it is the "
                "tokenizer of another model"
            )


def named_settings(folder: Path) -> dict[str, Any]:
    """What the small files of a folder say of its vocabulary."""
    return {**_json(folder / SPECIAL_FILE), **_json(folder / SETTINGS_FILE)}


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def content(token: Any) -> str:
    """A special token as text, however the settings say it."""
    return token["content"] if isinstance(token, Mapping) else str(token)
