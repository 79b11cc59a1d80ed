import math

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Batch, Sample, collate
from omniformer.core.rotary import Rotary
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.embedders.maskable import Maskable
from omniformer.heads import ClassificationHead, NextTokenHead, TokenClassificationHead
from omniformer.heads.reconstruction import ReconstructionHead
from omniformer.model import OmniFormer
from omniformer.tasks.masked import MaskedIds, MaskedVectors


def model_with(head, d_model=16) -> OmniFormer:
    torch.manual_seed(0)
    embedders = {
        "text": Maskable(d_model=d_model, embedder=IdEmbedder(d_model=d_model, vocab_size=11)),
        "audio": Maskable(d_model=d_model, embedder=VectorEmbedder(d_model=d_model, features=4)),
    }
    return OmniFormer(
        core=Transformer(d_model=d_model, n_layers=1, n_heads=2, rotary=Rotary), embedders=embedders, heads={"it": head}
    )


def sample(name: str, modality: str, hidden: list[bool], seed: int) -> Sample:
    chance, n = torch.Generator().manual_seed(seed), len(hidden)
    values = torch.randint(11, (n,), generator=chance) if modality == "text" else torch.randn(n, 4, generator=chance)
    mask = torch.tensor(hidden, dtype=torch.bool)
    piece = Tokens(
        values=values,
        positions=torch.arange(n)[:, None].float(),
        modality=modality,
        features={"masked": mask},
    )
    return Sample(
        id=name, pieces=[piece], token_targets={"mask": mask, "ids" if modality == "text" else "values": values}
    )


def batch_of(modality: str) -> Batch:
    shapes = [[True, False, False, True], [], [False, True], [False, False, False]]
    return collate([sample(f"s{i}", modality, hidden, i) for i, hidden in enumerate(shapes)])


@pytest.mark.parametrize(
    "head", [NextTokenHead(d_model=16, vocab_size=11, tied=False), TokenClassificationHead(d_model=16, n_classes=11)]
)
def test_hidden_ids_are_scored_each_at_its_own_place(head):
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    model, batch = model_with(head), batch_of("text")
    task = MaskedIds(head=head)
    step = task.step(model, batch, "it")
    x, layout = model.encode(batch, "it")
    ids = batch.parts["text"].values
    nats = [-float(head(x[i : i + 1], layout)[0].log_softmax(0)[ids[i]].detach()) for i in (0, 3, 5)]
    assert step.loss.item() == pytest.approx(sum(nats) / 3, rel=1e-5)
    assert step.count == 3
    metrics = task.metrics()
    task.update(metrics, step, batch)
    found = metrics.compute()
    assert found["perplexity"].item() == pytest.approx(math.exp(sum(nats) / 3), rel=1e-5)
    right = [int(head(x, layout)[i].argmax()) == int(ids[i]) for i in (0, 3, 5)]
    assert found["accuracy"].item() == pytest.approx(sum(right) / 3)


@pytest.mark.parametrize("normalise", [True, False])
def test_hidden_vectors_are_compared_by_squared_error_each_in_its_own_units_where_asked(normalise):
    head = ReconstructionHead(d_model=16, features=4)
    torch.nn.init.normal_(head.values.weight)
    model, batch = model_with(head), batch_of("audio")
    task = MaskedVectors(head=head, normalise=normalise)
    step = task.step(model, batch, "it")
    predicted = model(batch, "it").detach().numpy()
    total = squares = 0.0
    for i in (0, 3, 5):
        wanted = batch.parts["audio"].values[i].numpy()
        if normalise:
            wanted = (wanted - wanted.mean()) / (wanted.var() + 1e-6) ** 0.5
        total += ((predicted[i] - wanted) ** 2).mean() / 3
        squares += (wanted**2).mean() / 3
    assert step.loss.item() == pytest.approx(total, rel=1e-4)
    metrics = task.metrics()
    task.update(metrics, step, batch)
    found = metrics.compute()
    assert found["mse"].item() == pytest.approx(total, rel=1e-4)
    assert found["explained"].item() == pytest.approx(1 - total / squares, rel=1e-4)


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_a_batch_with_nothing_hidden_loses_nothing(modality):
    head = (
        NextTokenHead(d_model=16, vocab_size=11, tied=False)
        if modality == "text"
        else ReconstructionHead(d_model=16, features=4)
    )
    task = MaskedIds(head=head) if modality == "text" else MaskedVectors(head=head)
    step = task.step(model_with(head), collate([sample("a", modality, [False] * 3, 0)]), "it")
    step.loss.backward()
    assert (step.loss.item(), step.count) == (0.0, 0)


@pytest.mark.quick(1)
@pytest.mark.parametrize("modality", ["text", "audio"])
def test_one_batch_can_be_learned_by_heart(modality, share_left):
    torch.manual_seed(0)
    head = (
        NextTokenHead(d_model=32, vocab_size=11, tied=False)
        if modality == "text"
        else ReconstructionHead(d_model=32, features=4)
    )
    task = MaskedIds(head=head) if modality == "text" else MaskedVectors(head=head)
    model = model_with(head, d_model=32)
    batch = collate([sample(str(i), modality, [i % 2 == 0, False, True, False, i % 3 == 0], i) for i in range(6)])
    assert share_left(task, model, batch) < 0.3


def test_a_head_of_whole_samples_is_refused():
    with pytest.raises(ValueError, match="ClassificationHead reads samples as wholes"):
        MaskedIds(head=ClassificationHead(d_model=16, n_classes=2))


def test_vectors_of_another_width_are_told():
    head = ReconstructionHead(d_model=16, features=3)
    with pytest.raises(ValueError, match="predicts 3 numbers, tokens of sample 's0' have 4"):
        MaskedVectors(head=head).step(model_with(head), batch_of("audio"), "it")


def test_data_without_masks_is_told():
    head = NextTokenHead(d_model=16, vocab_size=11, tied=False)
    plain = collate(
        [Sample(id="a", pieces=[Tokens(values=torch.tensor([1]), positions=torch.zeros(1, 1), modality="text")])]
    )
    with pytest.raises(ValueError, match="sample 'a' has no token target 'mask'"):
        MaskedIds(head=head).step(model_with(head), plain, "it")
