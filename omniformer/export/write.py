"""From a trained model to files that other programs run, each compared with the model before it is called done."""

import json
import logging
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from omniformer.export.entrance import Port
from omniformer.export.program import Program
from omniformer.export.programs import programs
from omniformer.export.raw import Numbers
from omniformer.inputs.fitting import places
from omniformer.predictor import Member, Predictor
from omniformer.quantization import refuse_quantized

Format = Literal["pt2", "onnx"]
CONFIG_FILE = "config.json"
TOLERANCE = 1e-5
"""How far a program may be from the model, in parts of the largest output where that is above 1."""

# Sums and softmax as in the first ONNX release that has all that is needed, so that old runtimes read the files.
_OPSET = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One file.

    Args:
        path: of the file.
        size: of the file, and of the weights beside it where it has them, in bytes.
        inputs: what goes in, in order.
        outputs: what comes out, in order.
        difference: from the packed model, the largest over ragged batches of several sizes; relative where outputs are
            above 1. None where nothing was there to run the file with.
    """

    path: Path
    size: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    difference: float | None


def export(
    predictor: Predictor,
    folder: str | Path,
    *,
    member: str | None = None,
    formats: Sequence[Format] = ("pt2", "onnx"),
    raw: Numbers | None = None,
) -> list[Written]:
    """Writes a task of a model as programs over padded tensors, with its tokenizers and a `config.json` that says how
    to feed them, and compares what each program says with what the model says.

    Args:
        predictor: a loaded model, in float32 on the host.
        folder: made when missing; files of an earlier export are replaced.
        member: which task, where the model has several.
        formats: "pt2" for `torch.export.load`, "onnx" for ONNX runtimes.
        raw: "uint8" or "float32" for programs that take pictures of these numbers (0..255, or 0..1), or waveforms of
            float32, and make tokens of them themselves; by default programs take tokens.

    Raises:
        ValueError: there are several tasks and none is named, the task or a part of the model cannot be exported, or a
            program says something else than the model. No file is then left half written.
        ImportError: a library is missing; says what to install.

    Example:
        >>> import omniformer
        >>> written = export(omniformer.load("outputs/vision/latest"), "digits")  # doctest: +SKIP
        >>> [file.path.name for file in written]  # doctest: +SKIP
        ['model.pt2', 'model.onnx']
    """
    if unknown := sorted(set(formats) - set(get_args(Format))) or not formats:
        raise ValueError(f"formats={list(formats)}: {unknown or 'none'} is not known; choose pt2, onnx or both")
    if "onnx" in formats:
        _need("onnx", "onnxscript", how="pip install onnx onnxscript, or choose the format pt2")
    _check_weights(predictor)
    name = _task(predictor, member)
    task = None if name is None else predictor.members[name]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = programs(predictor.model, name, task, raw)
    written = []
    # Made beside where they will stand, so that to move them is instant and a failure leaves nothing behind.
    with TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        for stem, program in parts.items():
            traced = _traced(program)
            for format in formats:
                written.append(_write(traced, program, Path(unfinished) / f"{stem}.{format}"))
        for path in Path(unfinished).iterdir():
            path.replace(folder / path.name)
    written = [replace(each, path=folder / each.path.name) for each in written]
    if task is not None:
        for modality, tokenizer in task.tokenizers.items():
            shutil.rmtree(folder / "tokenizers" / modality, ignore_errors=True)
            tokenizer.save_pretrained(folder / "tokenizers" / modality)
    config = _config(predictor, name, task, parts, written)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return written


def run_pt2(path: str | Path) -> Any:
    """A `.pt2` file as a function of tensors in the order of its inputs."""
    with _quiet():
        return torch.export.load(path).module()


def run_onnx(path: str | Path) -> Any:
    """An `.onnx` file as a function of tensors in the order of its inputs; the outputs come as tensors too.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    _need("onnxruntime", how="pip install onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        fed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return tuple(torch.from_numpy(each) for each in session.run(None, fed))

    return run


def _traced(program: Program) -> Any:
    """The program as a graph of tensor operations for batches of any size."""
    from torch.fx.experimental import _config as tracing

    free = torch.export.Dim.DYNAMIC
    shapes = tuple(
        {axis: free for axis, size in enumerate(port.shape) if isinstance(size, str)} for port in program.inputs
    )
    # A view of something else would bring strides along, which are none of the file's business.
    example = tuple(each.contiguous() for each in program.example())
    try:
        # Sizes of 0 and 1 are sizes like any other: torch.onnx traces in this way too.
        with torch.no_grad(), tracing.patch(backed_size_oblivious=True), _quiet():  # pyright: ignore[reportAttributeAccessIssue]
            traced = torch.export.export(program, example, dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # whatever a part does that depends on data, torch has an exception of its own for it
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{program.head or 'the core'!r} cannot be exported, a part of it does something that depends on its data: "
            f"{first[0]}"
        ) from error
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which say nothing elsewhere
    # What tracing noted besides equal sizes is that none is 1, which no operation needs: the trials have such sizes.
    guards = getattr(traced, "_guards_code", None)
    if guards is not None:
        traced._guards_code = [guard for guard in guards if " != " not in guard]
    return traced


def _write(traced: Any, program: Program, path: Path) -> Written:
    """One file of a program, and how far it is from the model."""
    with _quiet():
        if path.suffix == ".pt2":
            torch.export.save(traced, path)
            run = run_pt2(path)
        else:
            _write_onnx(traced, program, path)
            run = run_onnx(path) if find_spec("onnxruntime") else None
    difference = None if run is None else _difference(program, run)
    if difference is not None and not difference <= TOLERANCE:
        raise ValueError(
            f"{path.name} was not kept: it differs from the model by {difference:.1e}, more than {TOLERANCE:.0e}; some "
            "part of the model means something else in padded batches, or by whole numbers of tokens"
        )
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    return Written(path=path, size=size, inputs=program.inputs, outputs=program.outputs, difference=difference)


def _write_onnx(traced: Any, program: Program, path: Path) -> None:
    made = torch.onnx.export(
        traced,
        dynamo=True,
        opset_version=_OPSET,
        input_names=[port.name for port in program.inputs],
        output_names=[port.name for port in program.outputs],
        verbose=False,
    )
    assert made is not None
    _name(made.model, program)
    made.save(str(path))


def _name(model: Any, program: Program) -> None:
    """Puts our words for the axes into the file in the place of the tracer's symbols, and takes its notes out."""
    # The exporter gives outputs the names asked for, whether or not a value inside has that name already.
    outer = {id(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    taken = {port.name for port in (*program.inputs, *program.outputs)}
    for node in model.graph:
        for value in node.outputs:
            if id(value) not in outer and value.name in taken:
                value.name = f"{value.name}_inside"
    words: dict[str, str] = {}
    for value, port in zip(model.graph.inputs, program.inputs, strict=True):
        for size, word in zip(value.shape, port.shape, strict=True):
            symbol = getattr(size, "value", size)
            if isinstance(symbol, str) and isinstance(word, str) and symbol.isidentifier():
                words.setdefault(symbol, word)

    def named(size: Any) -> Any:
        symbol = getattr(size, "value", size)
        return re.sub(r"\w+", lambda found: words.get(found[0], found[0]), symbol) if isinstance(symbol, str) else size

    values = [value for node in model.graph for value in node.outputs]
    for value in (*model.graph.inputs, *values):
        if value.shape is not None:
            value.shape = type(value.shape)([named(size) for size in value.shape])
    for value, port in zip(model.graph.outputs, program.outputs, strict=True):
        value.shape = type(value.shape)(port.shape)
    for each in (model, model.graph, *model.graph, *model.graph.inputs, *values):
        each.metadata_props.clear()  # paths of this machine, which say nothing elsewhere


def _difference(program: Program, run: Any) -> float:
    with torch.no_grad():
        return max(trial(lambda tensors: run(*tensors)) for trial in program.trials())


def _config(
    predictor: Predictor,
    name: str | None,
    task: Member | None,
    parts: dict[str, Program],
    written: Sequence[Written],
) -> dict[str, Any]:
    """What whoever runs the files must know, as plain JSON values."""
    files = {}
    for stem, program in parts.items():
        files[stem] = {
            "most_tokens": {each: places(program.packed, each) for each in program.modalities},
            "files": [each.path.name for each in written if each.path.stem == stem],
            "inputs": [asdict(port) for port in program.inputs],
            "outputs": [asdict(port) for port in program.outputs],
        }
    config: dict[str, Any] = {"format": 1, "task": name, "how": FEEDING, "programs": files}
    if task is not None:
        config |= {
            "labels": list(task.labels),
            "max_seq_len": task.max_seq_len,
            "tokenizers": {modality: f"tokenizers/{modality}" for modality in task.tokenizers},
        }
    head: Any = None if name is None else predictor.model.head(name)
    if head is not None and head.compares:
        with torch.no_grad():
            config["scale"] = float(head.scale())
            config["bias"] = None if head.bias is None else float(head.bias)
    if head is not None and head.makes == "ids" and task is not None and head.modality in task.tokenizers:
        tokenizer = task.tokenizers[head.modality]
        config |= {"start": tokenizer.start, "stop": tokenizer.stop}
        config |= {"starts": list(tokenizer.beginning), "stops": list(tokenizer.stops)}
        config["allowed"] = None if task.allowed is None else asdict(task.allowed)
    return config


FEEDING = (
    "Tensors are padded: axes with the same word have the same size, which may be any; but no sample may have more "
    "tokens of a modality than most_tokens says, earlier ones included (null: no limit). A mask is 1 for a token and "
    "0 for padding, on whichever side; what stands in padding is not looked at. Tokens are those that "
    "omniformer_tokenizers.load(folder) makes, for the folders named under tokenizers; pixels and waveforms are raw "
    "samples, as stackable(sample) of such a tokenizer makes them, of which a program makes tokens itself. A decoder "
    "begins with the ids named under starts (start is the first of them) and a past of length 0; each further step "
    "takes the mask with a column for the new ids behind it, and the present of the step before as its past. An "
    "answer ends with any of the ids under stops; allowed says which ids it never holds, does not begin with, or must "
    "begin or end with. What an encoder gives goes into every step of its decoder. A .pt2 file takes tensors in the "
    "order of inputs and returns them in the order of outputs."
)


def _task(predictor: Predictor, member: str | None) -> str | None:
    """The name of the task to export; None for a model without any."""
    names = list(predictor.members)
    if member is not None and member not in names:
        raise ValueError(f"no task named {member!r}; this model has {', '.join(names) or 'none'}")
    if member is None and len(names) > 1:
        raise ValueError(f"this model has several tasks: {', '.join(names)}; choose one with member=")
    return member or next(iter(names), None)


def _check_weights(predictor: Predictor) -> None:
    refuse_quantized(predictor.model)
    for name, weight in predictor.model.named_parameters():
        if weight.dtype != torch.float32 or weight.device.type != "cpu":
            raise ValueError(
                f"{name} is {weight.dtype} on {weight.device}; programs are made of float32 weights on the host: call "
                "predictor.model.float().cpu() first"
            )


def _need(*libraries: str, how: str) -> None:
    if missing := [library for library in libraries if find_spec(library) is None]:
        raise ImportError(f"ONNX needs {', '.join(missing)}, not installed here: {how}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to themselves what libraries say of their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
