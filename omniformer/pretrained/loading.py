"""Published models in, ordinary models out, and back."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.pretrained import hub
from omniformer.pretrained.checkpoint import CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, Checkpoint, read_json
from omniformer.pretrained.companions import read_companions, write_companions
from omniformer.pretrained.family import Family, family_of
from omniformer.pretrained.names import Name, assemble
from omniformer.recipe import Node, build_model

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of the tensors of a published file.

    Args:
        loaded: how many were taken over.
        ignored: tensors that hold no knowledge, such as masks and second names of tied tables.
        unexpected: tensors that the model has no place for: those of a head that it was loaded without.
    """

    loaded: int
    ignored: tuple[str, ...]
    unexpected: tuple[str, ...]


class Pretrained(Predictor):
    """A published model as an ordinary one: to predict with, to fine-tune, to take parts from, and to write back.

    Args:
        model: embedders, core and heads.
        members: its one member, with the tokenizers; none for files without a head.
        tokenizers: by modality, for files without a head.
        family: what the files say of themselves.
        report: what became of the tensors.
        files: the small files that lay beside the weights, by name, to be written back with them.
    """

    def __init__(
        self,
        model: OmniFormer,
        members: Mapping[str, Member],
        *,
        tokenizers: Mapping[str, Tokenizer] | None = None,
        family: Family,
        report: Report | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(model, members, tokenizers=tokenizers)
        self.family, self.report, self.files = family, report, dict(files or {})

    @property
    def recipe(self) -> Node:
        """How to build the model again, as `omniformer.save` wants it."""
        return self.family.recipe

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int = 5 << 30) -> None:
        """Writes the model as the reference library reads it, with its vocabulary and what else lay beside the weights:
        see `save_pretrained`.
        """
        save_pretrained(self.model, folder, self.family.config, max_shard_size=max_shard_size)
        write_companions(self.files, Path(folder))


def load(
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    image_size: tuple[int, int] | None = None,
    revision: str | None = None,
) -> Pretrained:
    """Reads a published model from a folder in the usual layout: `config.json`, weights, tokenizer files.

    At most one tensor of the file is in memory beside the model.

    Args:
        folder: holds `config.json`, `model.safetensors` (or shards with their index, or `pytorch_model.bin`), and
            the files of the tokenizer. Where no such folder is, the name of a model on the hub, `owner/model`, is
            fetched, which needs the optional library of `omniformer[hub]`; see `omniformer.pretrained.hub` for what is
            trusted.
        dtype: of the weights; that of the file by default.
        image_size: height and width to which a model of pictures is changed: its positions are stretched
            ([Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929), 3.2), its tokenizer brings pictures to that
            size.
        revision: of a model on the hub: a branch, a tag or the hash of a commit.

    Raises:
        FileNotFoundError: a file is not there, or a model cannot be fetched.
        ValueError: the family is not known, a file is damaged, configuration and tensors disagree, or the model reads
            no pictures of that size; names the file and what is wrong. Nothing is returned half loaded.

    Example:
        >>> model = load("gpt2")  # doctest: +SKIP
        >>> model.generate(["Once upon a time"])[0][0].content  # doctest: +SKIP
        ' there was a man named John.'
    """
    folder = _local(folder, revision)
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {CONFIG_FILE}, so that nobody can say what its weights are")
    family = family_of(read_json(path), str(path))
    checkpoint = Checkpoint(folder)
    family = family.holding(checkpoint.where)
    model = _empty(family.recipe, dtype or checkpoint.dtype)
    report = fill(model, family, checkpoint)
    if image_size is not None:
        family = family.at_size(model, image_size)
    tokenizers, files = family.tokenizers(folder), read_companions(folder)
    if image_size is not None:
        files.pop("preprocessor_config.json", None)  # prepares pictures of the other size
    rest = {"family": family, "report": report, "files": files}
    if family.head is None:
        return Pretrained(model, {}, tokenizers=tokenizers, **rest)
    return Pretrained(model, {family.head: _member(family, tokenizers, folder)}, **rest)


def _local(folder: str | Path, revision: str | None) -> Path:
    """The folder on this machine."""
    if Path(folder).is_dir():
        if revision is not None:
            raise ValueError(f"revision={revision!r} is of a model on the hub; {folder} is a folder here")
        return Path(folder)
    if not hub.is_name(folder):
        raise FileNotFoundError(f"{folder} is no folder; give one that holds {CONFIG_FILE} and weights")
    return hub.fetch(str(folder), revision=revision)


def fill(model: OmniFormer, family: Family, checkpoint: Checkpoint) -> Report:
    """Copies the tensors of a file into a model.

    Raises:
        ValueError: a tensor is missing, has another shape than the configuration says, or another of its places in the
            file holds other numbers.
    """
    lines, expected = _lines(family, model)
    renamed = {name: _read_from(each[0], family, checkpoint.where) for name, each in lines.items()}
    if missing := [name for name, found in renamed.items() if found is None and lines[name][0].absent is None]:
        raise ValueError(f"{checkpoint.folder} lacks {_brief(missing)}, which its {CONFIG_FILE} asks for")
    wrong = [
        f"{found} is {list(checkpoint.shapes[found])}, {CONFIG_FILE} says {list(expected[name])}"
        for name, found in renamed.items()
        if found is not None and name in expected and checkpoint.shapes[found] != expected[name]
    ]
    if wrong:
        raise ValueError(f"{checkpoint.folder}: {_brief(wrong)}")
    ours: dict[str, list[Name]] = {}
    for name, found in renamed.items():
        if found is not None:
            ours.setdefault(found, []).extend(lines[name])
    parameters = _parameters(model)
    with torch.no_grad():
        shared = [found for found, each in ours.items() if each[0].their_rows is not None]
        for found, first, rows in checkpoint.pieces(ours, whole=shared):
            for line in ours[found]:
                line.read(rows, first, parameters[line.ours])
            del rows
        for line in (line for name, found in renamed.items() if found is None for line in lines[name]):
            line.part(parameters[line.ours]).fill_(line.absent or 0.0)
    repeated = _repeated(ours, family, checkpoint, parameters)
    rest = [name for name in checkpoint if name not in ours]
    ignored = tuple(name for name in rest if name in repeated or _is_ignored(name, family))
    unexpected = tuple(name for name in rest if name not in ignored)
    if unexpected:
        has_no = f"{family.architecture} has no place for {_brief(unexpected)}"
        log.warning("%s holds more than was read: %s", checkpoint.folder, has_no)
    return Report(loaded=len(ours), ignored=ignored, unexpected=unexpected)


def save_pretrained(
    model: OmniFormer, folder: str | Path, config: Mapping[str, Any], *, max_shard_size: int = 5 << 30
) -> None:
    """Writes a model of ours as the reference library reads it.

    Args:
        model: loaded from a published file and trained on, or trained here in the shape of one.
        folder: made when missing.
        config: the content of the `config.json` that describes it; `architectures` says which head it has.
        max_shard_size: larger models are written in several files with an index, in bytes.

    Raises:
        ValueError: the configuration describes another model.
    """
    folder = Path(folder)
    family = family_of(config)
    lines, _ = _lines(family, model)
    parameters = _parameters(model)
    names = [line for each in lines.values() for line in each]
    _same_shapes(parameters, family)
    _write(folder, assemble(names, parameters.__getitem__), max_shard_size)
    # A key that is null where nobody says otherwise needs no word; some classes of the reference stumble over it.
    unsaid = {key for key, value in family.defaults.items() if value is None and family.config[key] is None}
    written = {key: value for key, value in family.config.items() if key not in unsaid}
    written["architectures"] = [family.architecture]
    (folder / CONFIG_FILE).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _empty(recipe: Node, dtype: torch.dtype) -> OmniFormer:
    """The model of a recipe whose weights have no values yet, and no memory before they get some."""
    with _Undrawn():
        model = build_model(recipe)
    return model.to(dtype)


class _Undrawn(TorchDispatchMode):
    """Leaves out the random draws of fresh weights, which are about to be overwritten."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default):
            return args[0]
        return func(*args, **(kwargs or {}))


def _member(family: Family, tokenizers: dict[str, Tokenizer], folder: Path) -> Member:
    return Member(
        tokenizers=tokenizers,
        labels=family.labels,
        max_seq_len=family.max_seq_len,
        given=tuple(family.given),
        allowed=family.allowed(folder),
    )


def _lines(family: Family, model: OmniFormer) -> tuple[dict[str, list[Name]], dict[str, tuple[int, ...]]]:
    """The table by the names of theirs, and the shapes of theirs.

    Raises:
        ValueError: the model has another shape than the family says.
    """
    parameters = _parameters(model)
    lines: dict[str, list[Name]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for line in family.names():
        if line.ours not in parameters:
            raise ValueError(f"this model has no {line.ours}, which a {family.architecture} of this {CONFIG_FILE} has")
        lines.setdefault(line.theirs, []).append(line)
        try:
            expected[line.theirs] = line.expected(parameters[line.ours])
        except IndexError as error:
            raise ValueError(f"this model is no {family.architecture} of this {CONFIG_FILE}: {error}") from error
    if left := sorted(set(parameters) - {line.ours for each in lines.values() for line in each}):
        raise ValueError(
            f"a {family.architecture} has no place for {_brief(left)}; use omniformer.save, our own format"
        )
    return lines, expected


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    """All that is learned, or kept, each under its first name."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def _is_ignored(name: str, family: Family) -> bool:
    return any(fnmatchcase(each, pattern) for each in (name, family.prefix + name) for pattern in family.ignored)


def _found(name: str, family: Family, there: Mapping[str, Any]) -> str | None:
    """The name under which a tensor stands in a file, which may leave out the prefix of the whole model, or end in
    another way.
    """
    ends = [(end, other) for end, other in family.aliases.items() if name.endswith(end)]
    spelled = [name, *(name.removesuffix(end) + other for end, other in ends)]
    prefix = family.prefix
    return next(
        (each for one in spelled for each in (one, one.removeprefix(prefix), prefix + one) if each in there), None
    )


def _read_from(line: Name, family: Family, there: Mapping[str, Any]) -> str | None:
    """The name of the tensor that a line is read from: the first of its own names that the file has."""
    places = (_found(name, family, there) for name in (line.theirs, *line.also, *line.instead))
    return next((found for found in places if found is not None), None)


def _repeated(
    ours: Mapping[str, Sequence[Name]], family: Family, checkpoint: Checkpoint, parameters: Mapping[str, Tensor]
) -> set[str]:
    """The tensors that repeat what was read from another one.

    Raises:
        ValueError: one of them holds other numbers.
    """
    places = [
        (_found(name, family, checkpoint.where), read, line)
        for read, lines in ours.items()
        for line in lines
        for name in line.also
    ]
    again = {found: (read, line) for found, read, line in places if found is not None and found not in ours}
    for found, first, rows in checkpoint.pieces(again):
        read, line = again[found]
        if checkpoint.shapes[found] != checkpoint.shapes[read] or not line.agrees(rows, first, parameters[line.ours]):
            raise ValueError(
                f"{checkpoint.folder} holds different numbers as {read} and as {found}, which are one and the same in "
                f"a {family.architecture} of its {CONFIG_FILE}"
            )
        del rows
    return set(again)


def _same_shapes(parameters: Mapping[str, Tensor], family: Family) -> None:
    """Compares a model with the one that the configuration describes.

    Raises:
        ValueError: a weight has another shape.
    """
    with torch.device("meta"):
        described = _parameters(build_model(family.recipe))
    wrong = [
        f"{name} is {list(tensor.shape)}, {CONFIG_FILE} says {list(described[name].shape)}"
        for name, tensor in parameters.items()
        if name in described and described[name].shape != tensor.shape
    ]
    if wrong:
        raise ValueError(f"this model is no {family.architecture} of this {CONFIG_FILE}: {_brief(wrong)}")


def _write(folder: Path, tensors: Iterable[tuple[str, Tensor]], max_shard_size: int) -> None:
    """One file, or several with an index. Files that are there are replaced once the new ones are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
        written: list[tuple[Path, list[str]]] = []
        total = 0
        for shard in _shards(tensors, max_shard_size):
            path = Path(scratch) / f"{len(written)}.safetensors"
            save_file(shard, path, metadata={"format": "pt"})
            written.append((path, list(shard)))
            total += sum(tensor.nbytes for tensor in shard.values())
        for old in folder.glob("model*.safetensors*"):
            old.unlink()
        if len(written) == 1:
            written[0][0].replace(folder / WEIGHTS_FILE)
            return
        where: dict[str, str] = {}
        for i, (path, names) in enumerate(written, start=1):
            file = f"model-{i:05d}-of-{len(written):05d}.safetensors"
            path.replace(folder / file)
            where |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(tensors: Iterable[tuple[str, Tensor]], max_shard_size: int) -> Iterator[dict[str, Tensor]]:
    """The tensors in groups of at most so many bytes, or of one tensor."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > max_shard_size:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard


def _brief(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, and {len(names) - 5} more"
