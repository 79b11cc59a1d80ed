"""Probes over the vectors of a frozen model: chosen on validation, reported on test, vectors computed once."""

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer
from sklearn.linear_model import LogisticRegression

from omniformer.baselines.probes import probes
from omniformer.baselines.problem import Problem
from omniformer.core import Transformer
from omniformer.data.source import Raw
from omniformer.embedders import IdEmbedder
from omniformer.heads import ClassificationHead
from omniformer.linear import STRENGTHS
from omniformer.model import OmniFormer
from omniformer.predictor import Predictor
from omniformer.tasks import Classification

KINDS = ("good", "bad", "odd")
SIZES = {"train": 60, "val": 20, "test": 20}
TEXTS = {split: [f"a {KINDS[i % 3]} film {i} of {split}" for i in range(n)] for split, n in SIZES.items()}
LABELS = {split: [(i + (i % 5 == 0)) % 3 for i in range(n)] for split, n in SIZES.items()}  # a fifth say otherwise


def model(seed=0):
    torch.manual_seed(seed)
    core = Transformer(d_model=16, n_layers=1, n_heads=2)
    embedders = {"text": IdEmbedder(d_model=16, vocab_size=257)}
    return Predictor(OmniFormer(core=core, embedders=embedders, heads={}), {}, tokenizers={"text": ByteTokenizer()})


def problem(labels=LABELS):
    raws = {
        split: [
            Raw(id=f"{split}-{i}", contents={"text": text}, targets={"label": torch.tensor(labels[split][i])})
            for i, text in enumerate(texts)
        ]
        for split, texts in TEXTS.items()
    }
    task = Classification(head=ClassificationHead(d_model=16, n_classes=3), n_classes=3)
    return Problem(name="mood", kind="label", task=task, raws=raws, tokenizers={}, n_outputs=3)


def judged(vectors, strength):
    """What a strength scores on validation and test, by another library."""
    centre, scale = vectors["train"].mean(0), vectors["train"].std(0, correction=0)
    rows = {split: (each - centre) / scale for split, each in vectors.items()}
    found = LogisticRegression(C=1 / (strength * SIZES["train"]), max_iter=2000, tol=1e-6)
    found.fit(rows["train"], LABELS["train"])
    return found.score(rows["val"], LABELS["val"]), found.score(rows["test"], LABELS["test"])


def test_what_validates_best_is_reported_on_test(tmp_path):
    predictor = model()
    (linear, penalty, _), (nearest, number, _) = probes(problem(), predictor, tmp_path, seed=0)
    vectors = {split: predictor.embed(texts) for split, texts in TEXTS.items()}
    known = {strength: judged(vectors, strength) for strength in STRENGTHS}
    strength = float(penalty.removeprefix("penalty "))
    assert known[strength][0] == max(val for val, _ in known.values())
    found = (linear.scores["val"]["accuracy"], linear.scores["test"]["accuracy"])
    assert found == pytest.approx(known[strength])
    assert number in {"1 nearest", "5 nearest", "20 nearest"} and nearest.samples == linear.samples == 60


@pytest.mark.slow
def test_what_is_said_of_test_plays_no_part_in_what_is_chosen(tmp_path):
    other = LABELS | {"test": [(each + 1) % 3 for each in LABELS["test"]]}
    chosen = [
        [choice for _, choice, _ in probes(problem(labels), model(), tmp_path, seed=0)] for labels in (LABELS, other)
    ]
    assert chosen[0] == chosen[1]


def test_vectors_are_computed_once_for_a_model_and_data(tmp_path, monkeypatch):
    first = list(probes(problem(), model(), tmp_path, seed=0))
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "embed_named", lambda *_, **__: 1 / 0)
        again = list(probes(problem(), model(), tmp_path, seed=0))
        assert [(score.scores, told) for score, *told in again] == [(score.scores, told) for score, *told in first]
        with pytest.raises(ZeroDivisionError):
            list(probes(problem(), model(seed=1), tmp_path, seed=0))
        with pytest.raises(ZeroDivisionError):
            list(probes(problem(LABELS | {"val": LABELS["val"][::-1]}), model(), tmp_path, seed=0))
