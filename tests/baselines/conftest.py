"""Small problems of every kind that a simple method can solve, and one that guesses cannot."""

import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, PatchTokenizer, SpectrogramTokenizer

from omniformer.baselines import Problem
from omniformer.data.source import Raw
from omniformer.heads import ClassificationHead, MultiLabelHead, RegressionHead
from omniformer.tasks import Classification, MultiLabelClassification, Regression, TokenClassification

SIZES = {"train": 24, "val": 8, "test": 8}


def task_of(kind, n_outputs):
    sizes = {"d_model": 4}
    if kind in ("label", "node"):
        made = Classification if kind == "label" else TokenClassification
        return made(head=ClassificationHead(**sizes, n_classes=n_outputs), n_classes=n_outputs)
    if kind == "labels":
        head = MultiLabelHead(**sizes, n_classes=n_outputs)
        return MultiLabelClassification(head=head, n_classes=n_outputs)
    return Regression(head=RegressionHead(**sizes, n_outputs=n_outputs))


@pytest.fixture
def problem():
    """Makes a problem of what a sample of each class, 0 or 1, is given."""

    def make(modality, content, *, kind="label", tokenizer=None):
        generator = torch.Generator().manual_seed(0)
        raws = {}
        for split, n in SIZES.items():
            raws[split] = []
            for i in range(n):
                label = i % 2
                targets = {
                    "label": torch.tensor(label),
                    "labels": torch.tensor([float(label), float("nan") if i % 5 == 4 else 1.0 - label]),
                    "value": torch.tensor([3.0 * label + 1.0]),
                }
                chosen = {kind: targets[kind]}
                raws[split].append(
                    Raw(id=f"{split}/{i}", contents={modality: content(label, generator)}, targets=chosen)
                )
        n_outputs = 1 if kind == "value" else 2
        return Problem(
            name="mine",
            kind=kind,
            task=task_of(kind, n_outputs),
            raws=raws,
            tokenizers={} if tokenizer is None else {modality: tokenizer},
            n_outputs=n_outputs,
        )

    return make


@pytest.fixture
def texts(problem):
    words = (("good", "fine"), ("bad", "poor"))

    def make(kind="label"):
        return problem(
            "text",
            lambda label, g: " ".join(words[label][int(torch.randint(2, (), generator=g))] for _ in "abc"),
            kind=kind,
        )

    return make


@pytest.fixture
def pictures(problem):
    """Bright above, or bright below."""

    def content(label, generator):
        picture = torch.rand(1, 6, 6, generator=generator) * 0.2
        picture[:, 3 * label : 3 * label + 3] += 0.7
        return picture

    return lambda kind="label": problem(
        "vision", content, kind=kind, tokenizer=PatchTokenizer(patch_size=2, channels=1)
    )


@pytest.fixture
def sounds(problem):
    """A low and a high tone."""

    def content(label, generator):
        moments = torch.arange(1600) / 8000 + float(torch.rand((), generator=generator))
        return (moments * 2 * torch.pi * (300, 2000)[label]).sin()

    return problem("audio", content, tokenizer=SpectrogramTokenizer(sample_rate=8000))


@pytest.fixture
def series(problem):
    """Rising, or falling; with gaps at most of the peaks where asked for."""

    def make(kind="label", gap=False):
        def content(label, generator):
            values = torch.linspace(0, (1, -1)[label], 6)[None] + 0.1 * torch.rand(1, 6, generator=generator)
            return values.masked_fill(values > 1.02, float("nan")) if gap else values

        return problem("series", content, kind=kind)

    return make


@pytest.fixture
def graphs(problem):
    """Rings of five, and paths of five with a longer tail: as many nodes, of one kind."""

    def content(label, generator):
        ring = [(i, (i + 1) % 5) for i in range(5)]
        return {"n_nodes": 5, "edges": ring[: 5 - label]}

    return lambda kind="label": problem("graph", content, kind=kind, tokenizer=GraphTokenizer())


@pytest.fixture
def nodes():
    """Two cliques joined by an edge; one node of each is known, and nodes have nothing of their own but noise."""
    tokenizer = GraphTokenizer(node_features=2)
    label = torch.tensor([0] * 5 + [1] * 5)
    edges = [(a, b) for group in (range(5), range(5, 10)) for a in group for b in group if a < b] + [(4, 5)]
    features = torch.zeros(10, 2)
    features[0, 0] = features[9, 1] = 1.0
    graph = {"n_nodes": 10, "edges": edges, "node_features": features.tolist()}
    places = {"train": [0, 9], "val": [1, 8], "test": [2, 3, 6, 7]}
    raws = {
        split: [
            Raw(
                id=split,
                contents={"graph": graph},
                token_targets={"label": label, "mask": torch.isin(torch.arange(10), torch.tensor(chosen))},
            )
        ]
        for split, chosen in places.items()
    }
    return Problem(
        name="mine", kind="node", task=task_of("node", 2), raws=raws, tokenizers={"graph": tokenizer}, n_outputs=2
    )
