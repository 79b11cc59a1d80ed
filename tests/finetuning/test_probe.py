"""A fresh head begins as a linear probe of the frozen model: as scikit-learn finds it; nothing else moves."""

import numpy as np
import pytest
import torch
from omniformer_tokenizers import PatchTokenizer
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from omniformer import linear
from omniformer.batch import collate
from omniformer.config import ConfigError
from omniformer.core import Transformer
from omniformer.data import OmniDataModule, Raw, Source, Stream
from omniformer.data.samples import SampleError
from omniformer.embedders import VectorEmbedder
from omniformer.finetuning.probe import begin_heads
from omniformer.heads import ClassificationHead, RegressionHead, TokenClassificationHead
from omniformer.model import OmniFormer
from omniformer.tasks import Classification, Regression, TokenClassification


def of_patches(picture, i):
    """Whether each patch is light; one of the four has no class."""
    label = (picture.unfold(1, 2, 2).unfold(2, 2, 2).mean((0, 3, 4)).flatten() > 0.5).long()
    return {"label": label, "mask": torch.arange(4) != i % 4}


class Squares(Source):
    """Grey squares, told apart, or measured, by how bright they are."""

    modalities = ("vision",)
    labels = ("dark", "light")

    def split(self, name):
        noise = torch.Generator().manual_seed(("train", "val", "test").index(name))
        pictures = torch.rand(48, 1, 4, 4, generator=noise)
        return [
            Raw(
                id=f"{name}/{i}",
                contents={"vision": picture},
                targets={"label": (picture.mean() > 0.5).long(), "value": 100 + 10 * picture.mean()},
                token_targets=of_patches(picture, i),
            )
            for i, picture in enumerate(pictures)
        ]


def parts(head, task):
    """A model with an untrained core whose head is fresh, its task, and its data."""
    data = OmniDataModule(
        streams={"it": Stream(source=Squares(), batch_size=8)},
        tokenizers={"it": {"vision": PatchTokenizer(patch_size=2, channels=1)}},
        seed=0,
    )
    data.setup()
    torch.manual_seed(0)
    core = Transformer(d_model=16, n_layers=1, n_heads=2)
    embedder = VectorEmbedder(d_model=16, features=4)
    return OmniFormer(core=core, embedders={"vision": embedder}, heads={"it": head}), {"it": task}, data


def features(model, data, split):
    """What the head pools of each sample, one by one."""
    samples = data.samples("it", split)
    head, rows = model.head("it"), []
    with torch.no_grad():
        for i in range(len(samples)):
            x, layout = model.encode(collate([samples(0, i)]), "it")
            rows.append(head.pool(x, layout)[0])
    targets = [raw.targets for raw in data.streams["it"].raws(split)]
    return torch.stack(rows).double().numpy(), targets


def standard(x):
    return (x - x.mean(0)) / x.std(0)


def test_a_classifier_begins_as_the_logistic_regression_of_its_features():
    head = ClassificationHead(d_model=16, n_classes=2, dropout=0.5)
    model, tasks, data = parts(head, Classification(head=head, n_classes=2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    strength = begin_heads(model.train(), tasks, data, torch.device("cpu"))["it"]
    assert model.training
    after = model.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        "heads.it.classes.weight",
        "heads.it.classes.bias",
    }
    x, targets = features(model.eval(), data, "train")
    labels = np.array([int(each["label"]) for each in targets])
    theirs = LogisticRegression(C=1 / (strength / 2 * len(x)), tol=1e-8, max_iter=5000).fit(standard(x), labels)
    mine = head.classes(torch.tensor(x, dtype=torch.float32)).softmax(-1)[:, 1].detach().numpy()
    np.testing.assert_allclose(mine, theirs.predict_proba(standard(x))[:, 1], atol=2e-3)


def test_of_classes_the_penalty_counts_that_tells_most_right_however_sure_it_is_where_it_errs(monkeypatch):
    compared = []

    def fit(x, targets, kind, n_outputs, *, better, **options):
        found, strength = linear.fit(x, targets, kind, n_outputs, better=better, **options)
        sure = linear.Linear(weight=1000 * found.weight, bias=1000 * found.bias)
        compared.extend(better(each) for each in (sure, linear.Linear(weight=0 * found.weight, bias=0 * found.bias)))
        return found, strength

    monkeypatch.setattr("omniformer.finetuning.probe.fit", fit)
    head = ClassificationHead(d_model=16, n_classes=2)
    begin_heads(*parts(head, Classification(head=head, n_classes=2)), torch.device("cpu"))
    sure, alike = compared
    assert -sure[-1] > -alike[-1] == pytest.approx(np.log(2))  # losses
    assert sure > alike


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothing_that_a_probe_does_not_know_of_is_told(smoothing, monkeypatch):
    said = []
    monkeypatch.setattr("omniformer.finetuning.probe.rank_zero_info", said.append)
    head = ClassificationHead(d_model=16, n_classes=2)
    task = Classification(head=head, n_classes=2, label_smoothing=smoothing)
    begin_heads(*parts(head, task), torch.device("cpu"))
    assert any(each.startswith("it: task.label_smoothing=0.1 makes") for each in said) is bool(smoothing)


def test_numbers_begin_as_a_ridge_regression_in_their_own_units():
    head = RegressionHead(d_model=16, target_mean=[105.0], target_std=[0.5])
    model, tasks, data = parts(head, Regression(head=head))
    strength = begin_heads(model, tasks, data, torch.device("cpu"))["it"]
    x, targets = features(model.eval(), data, "train")
    values = np.array([float(each["value"]) for each in targets])
    theirs = Ridge(alpha=strength * len(x)).fit(standard(x), values).predict(standard(x))
    mine = head.values(torch.tensor(x, dtype=torch.float32))[:, 0].double().detach().numpy() * 0.5 + 105
    np.testing.assert_allclose(mine, theirs, atol=1e-3)


@pytest.mark.parametrize("most", [100_000, 60])
def test_classes_of_tokens_begin_as_the_logistic_regression_of_those_that_have_one(monkeypatch, most):
    monkeypatch.setattr("omniformer.finetuning.probe.MOST_TOKENS", most)
    monkeypatch.setattr("omniformer.finetuning.probe._BATCH", 4)
    said = []
    monkeypatch.setattr("omniformer.finetuning.probe.rank_zero_info", said.append)
    head = TokenClassificationHead(d_model=16, n_classes=2)
    model, tasks, data = parts(head, TokenClassification(head=head, n_classes=2))
    strength = begin_heads(model, tasks, data, torch.device("cpu"))["it"]
    n = min(most, 48 * 3)
    assert said[0].startswith(f"it: its head begins as a linear probe of {n} tokens")
    samples = [data.samples("it", "train")(0, i) for i in sorted(range(48), key=lambda place: place % 8)[: n // 3]]
    with torch.no_grad():
        x = torch.cat([model.eval().encode(collate([each]), "it")[0] for each in samples])
    mask = torch.cat([each.token_targets["mask"] for each in samples])
    x = x[mask].double().numpy()
    labels = torch.cat([each.token_targets["label"] for each in samples])[mask].numpy()
    theirs = LogisticRegression(C=1 / (strength / 2 * len(x)), tol=1e-8, max_iter=5000).fit(standard(x), labels)
    mine = head.classes(torch.tensor(x, dtype=torch.float32)).softmax(-1)[:, 1].detach().numpy()
    np.testing.assert_allclose(mine, theirs.predict_proba(standard(x))[:, 1], atol=2e-3)


@pytest.mark.parametrize("change", ["weights", "frozen", "no offset"])
def test_a_head_that_has_weights_or_does_not_learn_is_left_alone(change):
    head = ClassificationHead(d_model=16, n_classes=2, bias=change != "no offset")
    model, tasks, data = parts(head, Classification(head=head, n_classes=2))
    if change == "weights":
        nn.init.normal_(head.classes.weight)
    head.requires_grad_(change != "frozen")
    before = head.classes.weight.clone()
    with pytest.raises(ConfigError, match=r"model.probe: no head is there to fit"):
        begin_heads(model, tasks, data, torch.device("cpu"))
    assert torch.equal(head.classes.weight, before)


def test_a_head_begins_by_itself_only_where_the_rest_of_the_model_knows_something():
    for kind in ("label", "value"):
        for asked, knows in ((None, False), (False, True), (None, True)):
            head = ClassificationHead(d_model=16, n_classes=2) if kind == "label" else RegressionHead(d_model=16)
            task = Classification(head=head, n_classes=2) if kind == "label" else Regression(head=head)
            model, tasks, data = parts(head, task)
            fitted = begin_heads(model, tasks, data, torch.device("cpu"), asked=asked, knows=knows)
            assert bool(fitted) == (asked is None and knows)


def test_of_many_samples_those_from_all_over_the_split_are_read(monkeypatch):
    monkeypatch.setattr("omniformer.finetuning.probe.MOST_SAMPLES", 12)
    said = []
    monkeypatch.setattr("omniformer.finetuning.probe.rank_zero_info", said.append)
    head = ClassificationHead(d_model=16, n_classes=2)
    model, tasks, data = parts(head, Classification(head=head, n_classes=2))
    read = []
    samples = data.samples("it", "train")
    monkeypatch.setattr(type(samples), "many", lambda self, keys: read.extend(keys) or [self(*key) for key in keys])
    begin_heads(model, tasks, data, torch.device("cpu"))
    assert sorted(read[:12]) == [(0, 4 * place) for place in range(12)]
    assert said[0].startswith("it: its head begins as a linear probe of 12 of 48 samples")


@pytest.mark.parametrize("on_error", ["skip", "raise"])
def test_a_sample_that_cannot_be_read_is_left_out_where_the_run_would_skip_it(monkeypatch, on_error):
    said = []
    monkeypatch.setattr("omniformer.finetuning.probe.rank_zero_info", said.append)
    head = ClassificationHead(d_model=16, n_classes=2)
    model, tasks, data = parts(head, Classification(head=head, n_classes=2))
    data.streams["it"].on_error = on_error
    samples = data.samples("it", "train")
    samples.raws[5].contents["vision"] = torch.zeros(7, 4, 4)  # of seven channels
    if on_error == "raise":
        with pytest.raises(SampleError, match="train/5"):
            begin_heads(model, tasks, data, torch.device("cpu"))
        return
    begin_heads(model, tasks, data, torch.device("cpu"))
    assert said[0].startswith("it: its head begins as a linear probe of 47 of 48 samples")
