"""A trained model ready to use: raw inputs in, named predictions out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import BPETokenizer, Tokenizer
from torch import Tensor

from omniformer.batch import Sample, collate
from omniformer.generation.decode import continue_text
from omniformer.heads.head import Head
from omniformer.heads.next_token import NextTokenHead
from omniformer.model import OmniFormer

SUFFIXES = {
    "vision": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".mp3", ".ogg"),
    "text": (".txt", ".md"),
    "graph": (".json",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What belongs to one task of a trained model.

    Args:
        tokenizers: by modality.
        labels: the names of its classes; empty where there are none.
        max_seq_len: the longest sequence it was trained on, in tokens; None where samples have their own lengths.
    """

    tokenizers: Mapping[str, Tokenizer]
    labels: tuple[str, ...] = ()
    max_seq_len: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one input.

    Args:
        input: the input's name: its path, or its place in the list.
        member: the task that answered.
        probabilities: by class name; for a head that reads every token, of token `token`. Empty for a regression.
        values: predicted numbers of a regression.
        token: which token, for a head that reads every one (for example the nodes of a graph).
    """

    input: str
    member: str
    probabilities: Mapping[str, float]
    values: tuple[float, ...] = ()
    token: int | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain JSON values."""
        plain: dict[str, Any] = {"input": self.input, "member": self.member}
        if self.token is not None:
            plain["token"] = self.token
        if self.probabilities:
            plain |= {"label": self.label, "probabilities": dict(self.probabilities)}
        return plain | ({"values": list(self.values)} if self.values else {})


class Predictor:
    """A trained model with its tokenizers and label names; `omniformer.load` makes it.

    Args:
        model: embedders, core and heads; put into evaluation mode.
        members: by the name of their head in the model.
    """

    def __init__(self, model: OmniFormer, members: Mapping[str, Member]) -> None:
        self.model = model.eval()
        self.members = dict(members)

    def predict(self, inputs: Sequence[Any], *, member: str | None = None, batch_size: int = 64) -> list[Prediction]:
        """Predictions for raw inputs of any modality, in order.

        Args:
            inputs: paths of files (`.png`, `.wav`, `.txt`, `.json`, ...), or raw samples as the tokenizers take them:
                image tensors and Pillow images, waveforms, strings, graphs. A folder stands for the files in it.
            member: which task answers; by default the one that fits each input's modality.
            batch_size: inputs in one pass; results do not depend on it.

        Raises:
            ValueError: no task of this model fits an input, or several do; or a file cannot be read. Names the input.
        """
        named = [(name, raw) for i, given in enumerate(inputs) for name, raw in _expand(given, i)]
        routed = [(name, raw, member or self.route(raw, name)) for name, raw in named]
        results: dict[int, list[Prediction]] = {}
        for task in dict.fromkeys(task for _, _, task in routed):
            mine = [i for i, (_, _, route) in enumerate(routed) if route == task]
            for start in range(0, len(mine), batch_size):
                chunk = mine[start : start + batch_size]
                answers = self._predict([routed[i][:2] for i in chunk], task)
                results.update(zip(chunk, answers, strict=True))
        return [prediction for i in range(len(routed)) for prediction in results[i]]

    def generate(
        self, prompt: str, *, choose: Callable[[Tensor], Tensor], max_new_tokens: int = 256, member: str | None = None
    ) -> Iterator[str]:
        """Continues a text with the model's language model, piece by piece as it is written.

        Args:
            prompt: the beginning; empty to begin a new text.
            choose: picks the next token, for example `omniformer.generation.Sampler()`.
            max_new_tokens: when to end at the latest.
            member: which language model, where the model has several.

        Raises:
            ValueError: the model has no language model of text, or several.
        """
        able = [name for name in self.members if isinstance(self.model.heads[name], NextTokenHead)]
        if member is None and len(able) == 1:
            member = able[0]
        if not able:
            raise ValueError(
                f"this model has no language model, only {', '.join(self.members)}; train one with modality=text"
            )
        if member is None or member not in able:
            raise ValueError(f"member={member!r} is no language model of this folder; choose one of {', '.join(able)}")
        tokenizer = self.members[member].tokenizers["text"]
        if not isinstance(tokenizer, BPETokenizer):
            raise ValueError(f"{member!r} reads {type(tokenizer).__name__}; text is continued with a BPETokenizer")
        return continue_text(
            self.model,
            member,
            tokenizer,
            prompt,
            choose=choose,
            max_new_tokens=max_new_tokens,
            max_seq_len=self.members[member].max_seq_len,
        )

    def route(self, raw: Any, name: str = "input") -> str:
        """The task that a raw input is for, by its modality.

        Raises:
            ValueError: no task fits, or several do.
        """
        modality = modality_of(raw)
        fitting = [task for task, member in self.members.items() if modality in member.tokenizers]
        if len(fitting) != 1:
            raise ValueError(
                f"{name} looks like {modality or 'no known modality'}; "
                + (
                    f"several tasks take it: {fitting}; choose one with member="
                    if fitting
                    else f"this model takes {self._takes()}"
                )
            )
        return fitting[0]

    @torch.inference_mode()
    def _predict(self, named: Sequence[tuple[str, Any]], task: str) -> list[list[Prediction]]:
        if task not in self.members:
            raise ValueError(f"no task named {task!r}; this model has {', '.join(self.members)}")
        head = self.model.heads[task]
        assert isinstance(head, Head)
        if isinstance(head, NextTokenHead):
            raise ValueError(f"{task!r} is a language model, which continues text: use python -m omniformer.generate")
        samples = [self._sample(name, raw, self.members[task]) for name, raw in named]
        outputs = head.predict(self.model(collate(samples), task)).cpu()
        rows = outputs.split([len(sample) if head.per_token else 1 for sample in samples])
        return [
            [
                self._prediction(name, task, row, token if head.per_token else None)
                for token, row in enumerate(sample_rows)
            ]
            for (name, _), sample_rows in zip(named, rows, strict=True)
        ]

    def _sample(self, name: str, raw: Any, member: Member) -> Sample:
        contents = raw if isinstance(raw, Mapping) and set(raw) <= set(member.tokenizers) else None
        if contents is None:
            modality = modality_of(raw)
            tokenizer = member.tokenizers.get(modality or "", next(iter(member.tokenizers.values())))
            contents = {tokenizer.modality: _read_text(raw) if tokenizer.modality == "text" else raw}
        try:
            pieces = [member.tokenizers[modality](content) for modality, content in contents.items()]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: {error}") from error
        device = next(self.model.parameters()).device
        return Sample(id=name, pieces=[piece.to(device) for piece in pieces])

    def _prediction(self, name: str, task: str, row: Tensor, token: int | None) -> Prediction:
        labels = self.members[task].labels
        if not labels:
            return Prediction(input=name, member=task, probabilities={}, values=tuple(row.tolist()), token=token)
        return Prediction(
            input=name, member=task, probabilities=dict(zip(labels, row.tolist(), strict=True)), token=token
        )

    def _takes(self) -> str:
        return ", ".join(sorted({modality for member in self.members.values() for modality in member.tokenizers}))


def modality_of(raw: Any) -> str | None:
    """The modality of a raw input, from a file's suffix or the type of the object; None when neither tells."""
    if isinstance(raw, Path):
        return next((modality for modality, suffixes in SUFFIXES.items() if raw.suffix.lower() in suffixes), None)
    if isinstance(raw, str):
        return "text"
    if isinstance(raw, Tensor):
        return "audio" if raw.ndim == 1 or (raw.ndim == 2 and raw.shape[0] <= 2) else "vision"
    if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], Tensor):
        return "audio"
    if isinstance(raw, Mapping) or hasattr(raw, "edge_index") or hasattr(raw, "adjacency"):
        return "graph"
    return "vision" if hasattr(raw, "convert") and hasattr(raw, "size") else None


def _expand(given: Any, i: int) -> Iterator[tuple[str, Any]]:
    """An input with its name; a string that names a file is that file, and a folder is the files in it."""
    if isinstance(given, str) and _is_path(given):
        given = Path(given)
    if not isinstance(given, Path):
        yield f"input {i}", given
    elif given.is_dir():
        files = sorted(path for path in given.rglob("*") if path.is_file() and modality_of(path) is not None)
        if not files:
            raise ValueError(f"{given} holds no file that a model could read; known suffixes: {SUFFIXES}")
        yield from ((str(path), path) for path in files)
    elif given.is_file():
        yield str(given), given
    else:
        raise FileNotFoundError(f"no file {str(given)!r}")


def _is_path(text: str) -> bool:
    """Whether a string names a file: it exists, or has a known suffix and no spaces or line breaks."""
    known = any(text.lower().endswith(suffix) for suffixes in SUFFIXES.values() for suffix in suffixes)
    if known and not any(character.isspace() for character in text):
        return True
    try:
        return len(text) < 4096 and Path(text).exists() and bool(text)
    except (OSError, ValueError):
        return False


def _read_text(raw: Any) -> Any:
    return raw.read_text(encoding="utf-8") if isinstance(raw, Path) else raw
