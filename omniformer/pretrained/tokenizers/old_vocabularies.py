"""Vocabularies from before `tokenizer.json`: `vocab.json` with `merges.txt` or letters, `vocab.txt`, `spm.model`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omniformer_tokenizers.files import lines_of, read_text

from omniformer.pretrained.files.checkpoint import read_json
from omniformer.pretrained.tokenizers.letters import spelled
from omniformer.pretrained.tokenizers.unigram import unigram

VOCAB_FILE, MERGES_FILE, WORDS_FILE, PIECES_FILE = "vocab.json", "merges.txt", "vocab.txt", "spm.model"
ADDED_FILE = "added_tokens.json"
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What the reference takes the special tokens for where the files do not name them.
_DEFAULTS: dict[str, dict[str, str]] = {
    "gpt2": dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
    "roberta": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>"}
    | {"pad_token": "<pad>", "cls_token": "<s>", "mask_token": "<mask>"},
    "qwen2": dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>"),
    "clip": {"bos_token": "<|startoftext|>"} | dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>"),
    "bert": {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    | {"cls_token": "[CLS]", "mask_token": "[MASK]"},
}
_LIKE = {"bart": "roberta", "whisper": "gpt2", "qwen3": "qwen2", "clip_text_model": "clip", "distilbert": "bert"}
_LIKE |= {"deberta-v2": "bert"}
_SPELLED = ("wav2vec2", "hubert", "wavlm")


def described(folder: Path, model_type: str, settings: Mapping[str, Any]) -> tuple[str, Path] | None:
    """Such a vocabulary as the content of a `tokenizer.json`, and the file that it is from; None where there is none.

    Args:
        folder: holds the files.
        model_type: of `config.json`: how text is cut stands in the reference's code, not in the files.
        settings: the content of `tokenizer_config.json`.

    Raises:
        ValueError: a file is damaged, or nobody can say how text is cut.
    """
    pairs, words, pieces = folder / VOCAB_FILE, folder / WORDS_FILE, folder / PIECES_FILE
    if model_type in _SPELLED and pairs.is_file():
        return spelled(folder, pairs, settings), pairs
    kind = _LIKE.get(model_type, model_type)
    if pairs.is_file() and (folder / MERGES_FILE).is_file():
        path, known = pairs, ("gpt2", "roberta", "qwen2", "clip")
    elif words.is_file() or pieces.is_file():
        path, known = words if words.is_file() else pieces, ("bert",)
    else:
        return None
    if kind not in known:
        raise ValueError(
            f"{path}: only of {', '.join(known)} and their like it is known how they cut text, not of "
            f"model_type={model_type!r}; put a tokenizer.json there"
        )
    names = {**_DEFAULTS[kind], **{name: settings[name] for name in _NAMED if settings.get(name)}}
    try:
        if path == pieces:
            model = unigram(path, settings)
        else:
            model = _words(path, names, settings) if kind == "bert" else _pairs(folder, kind, names, settings)
        _add(model, names, settings, folder)
        _frame(model, model_type, names, settings)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path} and the files beside it are no vocabulary: {error}") from error
    return model.to_str(), path


def _words(path: Path, names: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Pieces of words, one a line, as BERT's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocab = {line: i for i, line in enumerate(lines_of(read_text(path)))}
    model: Any = Tokenizer(models.WordPiece(vocab, unk_token=_content(names["unk_token"])))
    model.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model.decoder = decoders.WordPiece(prefix="##")
    return model


def _pairs(folder: Path, kind: str, names: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Pairs of bytes, with a line for each merge."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    lines = lines_of(read_text(folder / MERGES_FILE))
    merges: Any = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    options: dict[str, Any] = {}
    if kind == "clip":
        options = {"end_of_word_suffix": "</w>", "unk_token": _content(names["unk_token"])}
    model: Any = Tokenizer(models.BPE(read_json(folder / VOCAB_FILE), merges, **options))
    model.decoder = decoders.ByteLevel()
    prefix = settings.get("add_prefix_space") or False
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    if kind == "qwen2":
        cut = pre_tokenizers.Split(Regex(_QWEN), behavior="isolated")
        raw = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)
        model.normalizer, model.pre_tokenizer = normalizers.NFC(), pre_tokenizers.Sequence([cut, raw])  # pyright: ignore[reportArgumentType]
    elif kind == "clip":
        one_blank = normalizers.Replace(Regex(r"\s+"), " ")
        model.normalizer = normalizers.Sequence([normalizers.NFC(), one_blank, normalizers.Lowercase()])  # pyright: ignore[reportArgumentType]
        cut = pre_tokenizers.Split(Regex(_CLIP), behavior="removed", invert=True)
        model.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])  # pyright: ignore[reportArgumentType]
    return model


def _add(model: Any, names: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> None:
    """Special tokens, and what was added to the vocabulary later, under the ids that the files give."""
    from tokenizers import AddedToken

    others = [settings.get(name) or () for name in ("additional_special_tokens", "extra_special_tokens")]
    listed = [token for each in others for token in (each.values() if isinstance(each, Mapping) else each)]
    special = {_content(token) for token in [*names.values(), *listed]}
    ids: dict[str, int] = read_json(folder / ADDED_FILE) if (folder / ADDED_FILE).is_file() else {}
    for i, token in (settings.get("added_tokens_decoder") or {}).items():
        ids[_content(token)] = int(i)
        special |= {_content(token)} if token.get("special") else set()
    vocab = model.get_vocab()
    if (folder / PIECES_FILE).is_file():
        # No file of sentencepiece has a mask: the reference puts it, as all that are named, behind the pieces.
        ids = {token: i for i, token in enumerate(sorted(special - set(vocab)), start=len(vocab))} | ids
    # A token that the files name and no list holds is none of this vocabulary.
    for token in [*(each for each in special if each in vocab), *sorted(ids, key=ids.__getitem__)]:
        added = AddedToken(token, special=token in special, normalized=False)
        (model.add_special_tokens if token in special else model.add_tokens)([added])
        if token in ids and model.token_to_id(token) != ids[token]:
            raise ValueError(f"token {token!r} has id {ids[token]} in one file, {model.token_to_id(token)} in others")


def _frame(model: Any, model_type: str, names: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """The special tokens around every text."""
    kind = _LIKE.get(model_type, model_type)
    if kind == "bert":
        first, last = _content(names["cls_token"]), _content(names["sep_token"])
        model.post_processor = template(model, [first], [last], between=[last], kinds=(0, 1))
    elif kind in ("roberta", "clip"):
        first, last = ("cls_token", "sep_token") if kind == "roberta" else ("bos_token", "eos_token")
        end = _content(names[last])
        model.post_processor = template(model, [_content(names[first])], [end], between=[end, end])
    elif model_type == "whisper":
        language, task = settings.get("language"), settings.get("task")
        front = ["<|startoftranscript|>", *(f"<|{each}|>" for each in (language, task) if each)]
        front += [] if settings.get("predict_timestamps") else ["<|notimestamps|>"]
        model.post_processor = template(model, front, [_content(names["eos_token"])])


def template(
    model: Any,
    front: Sequence[str],
    back: Sequence[str],
    *,
    between: Sequence[str] = (),
    kinds: tuple[int, int] = (0, 0),
) -> Any:
    """The special tokens around a text, and around two.

    Args:
        model: a `tokenizers.Tokenizer` that knows them.
        front: before a text.
        back: behind it.
        between: between the first and the second text of a pair.
        kinds: the segments of the two.
    """
    from tokenizers.processors import TemplateProcessing

    a, b = kinds
    one = [*(f"{name}:{a}" for name in front), f"$A:{a}"]
    two = [*one, *(f"{name}:{a}" for name in between), f"$B:{b}", *(f"{name}:{b}" for name in back)]
    tokens = [(name, model.token_to_id(name)) for name in {*front, *back, *between}]
    if missing := [name for name, i in tokens if i is None]:
        raise ValueError(f"the vocabulary has no {missing[0]!r}, which stands around its texts")
    return TemplateProcessing(single=[*one, *(f"{name}:{a}" for name in back)], pair=two, special_tokens=tokens)


def _content(token: Any) -> str:
    """The text of a special token, which files write as such or as a table of its properties."""
    return token["content"] if isinstance(token, Mapping) else str(token)
