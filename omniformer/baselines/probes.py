"""Probes: how much the vectors of a frozen model tell of what is to be predicted, by methods that learn no more than a
linear map, or nothing.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from safetensors.torch import load_file, save_file
from torch import Tensor

from omniformer.baselines.baseline import Score, cut
from omniformer.baselines.dense import linear
from omniformer.baselines.nearest import nearest
from omniformer.baselines.problem import Problem
from omniformer.data.source import Split
from omniformer.predictor import Predictor

MOST = 20_000  # training samples; a probe of more takes longer and is hardly another
NEIGHBOURS = (1, 5, 20)
_FILE = "embeddings.safetensors"
KINDS = ("label", "labels", "value")


def probes(problem: Problem, predictor: Predictor, root: Path, seed: int) -> Iterator[tuple[Score, str, Path]]:
    """What each probe reaches, what it has chosen on validation, and the folder in which the vectors are kept.

    Args:
        problem: the data and the task; what is to be predicted belongs to samples.
        predictor: the model, which stays as it is.
        root: the folder of all probes.
        seed: which training samples count, where there are more than `MOST`.

    Raises:
        ValueError: the model takes none of what the samples are.
    """
    own = cut(problem, MOST, seed)
    folder = root / f"{problem.name}-{_digest(own, predictor)[:16]}"
    rows = _rows(own, predictor, folder)
    n = len(own.raws["train"])
    begun = time.perf_counter()
    answers, strength = linear(own, rows)
    yield _score(own, "linear probe", answers, begun, n), f"penalty {strength:g}", folder
    if own.kind == "label":
        begun = time.perf_counter()
        answers, number = nearest(own, rows, NEIGHBOURS)
        yield _score(own, "nearest neighbours", answers, begun, n), f"{number} nearest", folder


def _score(problem: Problem, name: str, answers: dict[Split, Tensor], begun: float, samples: int) -> Score:
    scores = {split: problem.scores(split, each) for split, each in answers.items()}
    return Score(name=name, seconds=time.perf_counter() - begun, samples=samples, scores=scores)


def _rows(problem: Problem, predictor: Predictor, folder: Path) -> dict[Split, Tensor]:
    """The vectors of all samples, computed once for a model and data."""
    path = folder / _FILE
    if path.is_file():
        rank_zero_info(f"{problem.name}: vectors of {path}, which were computed before")
        found: Any = load_file(path)
        return found
    rows: dict[Split, Tensor] = {}
    for split, raws in problem.raws.items():
        named = [(raw.id, _only(problem.given(raw))) for raw in raws]
        rows[split] = predictor.embed_named(named).contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({str(split): vectors for split, vectors in rows.items()}, part)
    part.replace(path)
    return rows


def _only(given: dict[str, Any]) -> Any:
    """One content by itself goes to whoever takes it; several by their modalities."""
    return next(iter(given.values())) if len(given) == 1 else given


def _digest(problem: Problem, predictor: Predictor) -> str:
    """A hash of the data, and of the model with its tokenizers."""
    found = hashlib.sha256(problem.digest().encode())
    for name, tensor in sorted(predictor.model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    told = {
        name: {modality: each.digest for modality, each in member.tokenizers.items()}
        for name, member in predictor.members.items()
    }
    told[""] = {modality: each.digest for modality, each in predictor.tokenizers.items()}
    found.update(json.dumps([told, str(predictor.model)], sort_keys=True).encode())
    return found.hexdigest()
