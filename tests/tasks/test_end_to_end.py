"""Objectives that no other test trains, from raw samples to a loss that falls: data, tokenizers, model, task, trainer.

What is trained where, each on data made in the test or carried by a library:

| objective | test |
| --- | --- |
| classification (pictures, sounds) | tests/experiment/test_experiment.py, `test_one_batch_can_be_learnt_by_heart` |
| classification with a class for none | tests/tasks/test_open_set.py |
| several labels (graphs) | tests/experiment/test_experiment.py, `test_one_batch_can_be_learnt_by_heart` |
| classes of tokens (nodes) | here |
| spans | tests/tasks/test_span_prediction.py |
| numbers | here |
| links | tests/tasks/test_link_prediction.py |
| causal language model | tests/experiment/test_experiment.py, `test_one_batch_can_be_learnt_by_heart` |
| hidden ids, patches, frames, nodes | here; losses by hand in tests/tasks/test_masked.py |
| span corruption | here |
| sequence to sequence | here |
| captions behind a prefix | here |
| CTC | tests/tasks/test_ctc.py |
| contrastive, softmax and sigmoid | tests/tasks/test_contrastive.py |
| text to picture, pixels, mu-law | tests/tasks/test_autoregression.py |
| diffusion | tests/tasks/test_diffusion.py |
| gated cross-attention | tests/tasks/test_gated.py |
| all of the shipped experiments, two steps | tests/test_shipped_experiments.py |
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from lightning import Callback
from omniformer_tokenizers import (
    BPETokenizer,
    CharacterTokenizer,
    GraphTokenizer,
    PatchTokenizer,
    SpectrogramTokenizer,
    Tokenizer,
    WordTokenizer,
)

from omniformer.config import build
from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Neighbours, Prefix, Rule, Self
from omniformer.core.transformer import Transformer
from omniformer.data.masking import Masked
from omniformer.data.module import OmniDataModule
from omniformer.data.sets.karate import KarateClub
from omniformer.data.source import Raw, Source
from omniformer.data.span_corruption import SpanCorruption, sentinels
from omniformer.data.stream import Stream
from omniformer.model import OmniFormer
from omniformer.tasks.causal_lm import CausalLM
from omniformer.tasks.classification import TokenClassification
from omniformer.tasks.conditional_generation import ConditionalGeneration
from omniformer.tasks.masked import MaskedIds, MaskedVectors
from omniformer.tasks.module import TrainingModule
from omniformer.tasks.regression import Regression
from omniformer.tasks.task import Task
from omniformer.training.optimizers import AdamW
from omniformer.training.trainer import build_trainer

EMBEDDERS = {"text": "IdEmbedder", "vision": "VectorEmbedder", "audio": "VectorEmbedder", "graph": "NodeEmbedder"}
EDGES = Neighbours() | Self()
BEHIND_A_PREFIX = Causal() | Prefix()


class Made(Source):
    """Samples made in a test; the same ones train and test."""

    def __init__(self, raws: list[Raw]) -> None:
        self.raws = raws

    def split(self, name):
        return [] if name == "val" else self.raws


class Losses(Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs: Any, batch, batch_idx) -> None:
        self.seen.append(outputs["loss"].item())


def transformer(**options) -> Transformer:
    return Transformer(d_model=32, n_layers=2, n_heads=2, rotary=partial(Rotary, n_axes=2), **options)


def pair() -> EncoderDecoder:
    return EncoderDecoder(encoder=transformer(), decoder=transformer(block=CrossBlock))


def train(
    folder,
    stream: Stream,
    tokenizers: Mapping[str, Tokenizer],
    head: dict[str, Any],
    task: Callable[..., Task],
    *,
    rule: Rule,
    steps: int,
    core: Callable[[], torch.nn.Module] = transformer,
    maskable: bool = False,
    lr: float = 0.01,
) -> tuple[list[float], dict[str, float]]:
    """Trains a small model on a stream; gives the loss of every step, and what the test measures afterwards."""
    data = OmniDataModule(streams={"it": stream}, tokenizers={"it": dict(tokenizers)}, seed=0, steps_per_epoch=steps)
    data.setup()
    torch.manual_seed(0)
    embedders = {}
    for modality in tokenizers:
        node: dict[str, Any] = {"_target_": f"omniformer.embedders.{EMBEDDERS[modality]}"}
        if modality == "text":
            node["init_std"] = 0.3  # so that a few steps tell words apart
        if maskable:
            node = {"_target_": "omniformer.embedders.Maskable", "embedder": node}
        embedders[modality] = build(node, modality, **data.facts("it", modality), d_model=32)
    facts = data.facts("it", list(tokenizers)[-1])
    made = build(head, "head", **facts, d_model=32)
    model = OmniFormer(core=core(), embedders=embedders, heads={"it": made}, rules={"it": rule})
    known = {"tokenizers": tokenizers} if task is ConditionalGeneration else {}
    known |= {"n_classes": facts["n_classes"]} if task is TokenClassification else {}
    losses = Losses()
    trainer = build_trainer(
        {"max_epochs": 1, "accelerator": "cpu", "limit_val_batches": 0, "enable_model_summary": False},
        callbacks={"losses": losses},
        loggers={},
        output_dir=str(folder),
    )
    module = TrainingModule(
        model=model,
        tasks={"it": task(head=made, rule=rule, **known)},
        optimizer=AdamW(lr=lr, schedule="constant", warmup_steps=0),
    )
    trainer.fit(module, datamodule=data)
    (measured,) = trainer.test(module, datamodule=data, verbose=False)
    return losses.seen, dict(measured)


def fell(losses: list[float]) -> float:
    """The mean of the last five losses over that of the first two."""
    return (sum(losses[-5:]) / 5) / (sum(losses[:2]) / 2)


def head(name: str, **options) -> dict[str, Any]:
    return {"_target_": f"omniformer.heads.{name}", **options}


def raws(samples: list[dict[str, Any]]) -> Made:
    return Made([Raw(id=f"s{i}", **sample) for i, sample in enumerate(samples)])


def ring(n: int) -> list[list[int]]:
    return [[i, (i + by) % n] for i in range(n) for by in (1, -1)]


def test_classes_of_nodes_are_learned(tmp_path):
    losses, _ = train(
        tmp_path,
        Stream(source=KarateClub(), batch_size=1),
        {"graph": GraphTokenizer(node_features=34, max_degree=0)},
        head("TokenClassificationHead"),
        TokenClassification,
        rule=EDGES,
        steps=40,
    )
    assert losses[0] == pytest.approx(math.log(4), rel=0.05)
    assert fell(losses) < 0.1


@pytest.mark.slow
def test_numbers_are_learned(tmp_path):
    """How many nodes has a graph in which all are joined?"""
    samples = [
        {
            "contents": {"graph": {"n_nodes": n, "edges": [[i, j] for i in range(n) for j in range(n) if i != j]}},
            "targets": {"value": torch.tensor(float(n))},
        }
        for n in range(2, 10)
    ]
    losses, found = train(
        tmp_path,
        Stream(source=raws(samples), batch_size=9),
        {"graph": GraphTokenizer(max_degree=8)},
        head("RegressionHead"),
        Regression,
        rule=EDGES,
        steps=80,
    )
    assert fell(losses) < 0.1
    assert found["test/rmse"] < 1.0  # where the mean is 2.3 off


def stutters() -> list[dict[str, Any]]:
    """Texts of which any two letters tell all others."""
    pairs = [a + b for a in "abcd" for b in "efgh"]
    return [{"contents": {"text": each * 6}} for each in pairs]


def wallpapers() -> list[dict[str, Any]]:
    """Pictures of one pattern each, again and again."""
    patterns = [torch.rand(1, 2, 2, generator=torch.Generator().manual_seed(i)) for i in range(8)]
    return [{"contents": {"vision": pattern.tile(1, 4, 4)}} for pattern in patterns]


def tones() -> list[dict[str, Any]]:
    """Sounds of one pitch each."""
    time = torch.arange(2000) / 8000
    return [{"contents": {"audio": (torch.sin(2 * math.pi * 200 * (i + 1) * time), 8000)}} for i in range(8)]


def molecules() -> list[dict[str, Any]]:
    """Rings in which the kind of a node follows from those of its neighbours."""
    return [
        {"contents": {"graph": {"n_nodes": n, "edges": ring(n), "node_features": [[i % 3] for i in range(n)]}}}
        for n in range(6, 25, 3)
    ]


MASKED = {
    "ids": (stutters, "text", CharacterTokenizer(), head("NextTokenHead", tied=False), MaskedIds, Full(), 0.5),
    "patches": (
        wallpapers,
        "vision",
        PatchTokenizer(patch_size=2, channels=1),
        head("ReconstructionHead"),
        partial(MaskedVectors, normalise=True),
        Full(),
        0.1,
    ),
    "frames": (
        tones,
        "audio",
        SpectrogramTokenizer(sample_rate=8000, n_mels=16, n_fft=256, hop_length=80),
        head("ReconstructionHead"),
        partial(MaskedVectors, normalise=False),
        Full(),
        0.4,
    ),
    "nodes": (molecules, "graph", GraphTokenizer(node_vocab_sizes=(3,)), head("CategoryHead"), MaskedIds, EDGES, 0.5),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("what", MASKED)
def test_hidden_tokens_are_found_from_those_around_them(tmp_path, what):
    samples, modality, tokenizer, reader, task, rule, most = MASKED[what]
    losses, found = train(
        tmp_path,
        Stream(source=raws(samples()), arrange=Masked(modality=modality, share=0.15), batch_size=8),
        {modality: tokenizer},
        reader,
        task,
        rule=rule,
        steps=80,
        maskable=True,
    )
    assert fell(losses) < most
    assert found["test/accuracy" if task is MaskedIds else "test/explained"] > 0.6


@pytest.mark.quick(1)
@pytest.mark.parametrize("core", [transformer, pair])
def test_holes_in_texts_are_filled(tmp_path, core):
    sentences = [f"the {a} sees the {b} and the {a} runs home" for a in ("cat", "dog", "cow") for b in ("hen", "fox")]
    tokenizer = BPETokenizer(vocab_size=300, special_tokens=("<|endoftext|>", *sentinels(8)))
    losses, found = train(
        tmp_path,
        Stream(
            source=raws([{"contents": {"text": sentence}} for sentence in sentences]),
            arrange=SpanCorruption(seq_len=48),
            batch_size=6,
        ),
        {"text": tokenizer},
        head("NextTokenHead", tied=False),
        CausalLM,
        rule=Causal() if core is pair else BEHIND_A_PREFIX,
        core=core,
        steps=80,
    )
    assert fell(losses) < 0.4
    assert found["test/loss"] < 0.4 * losses[0]


@pytest.mark.slow
def test_one_text_is_written_over_another(tmp_path):
    words = ("zero", "one", "two", "three")
    samples = [
        {"contents": {"text": f"{a}{b}"}, "answer": {"text": f"{words[b]} {words[a]}"}}
        for a in range(4)
        for b in range(4)
    ]
    losses, found = train(
        tmp_path,
        Stream(source=raws(samples), batch_size=16),
        {"text": CharacterTokenizer()},
        head("NextTokenHead", tied=False),
        ConditionalGeneration,
        rule=Causal(),
        core=pair,
        steps=80,
    )
    assert fell(losses) < 0.1
    assert found["test/exact_match"] > 0.9


@pytest.mark.slow
def test_captions_are_written_behind_the_picture(tmp_path):
    colours = {"dark red": (0.8, 0.1, 0.1), "green": (0.1, 0.8, 0.1), "light blue": (0.3, 0.4, 0.9)}
    samples = [
        {
            "contents": {
                "vision": torch.tensor(rgb)[:, None, None]
                + 0.05 * torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(i)),
                "text": name,
            }
        }
        for i, (name, rgb) in enumerate(list(colours.items()) * 4)
    ]
    losses, found = train(
        tmp_path,
        Stream(source=raws(samples), batch_size=12, answer="text"),
        {"vision": PatchTokenizer(patch_size=4, channels=3), "text": WordTokenizer()},
        head("NextTokenHead", tied=True),
        ConditionalGeneration,
        rule=BEHIND_A_PREFIX,
        steps=60,
    )
    assert fell(losses) < 0.1
    assert found["test/exact_match"] == 1.0
