import pytest
import torch
from omniformer_tokenizers import Tokens
from rings import rings

from omniformer.batch import Sample, collate
from omniformer.core.rules import Neighbours, Self
from omniformer.core.transformer import Transformer
from omniformer.embedders import NodeEmbedder
from omniformer.heads.link import LinkHead
from omniformer.model import OmniFormer
from omniformer.tasks.link_prediction import LinkPrediction

RULE = Neighbours() | Self()


def model_with(d_model=16) -> OmniFormer:
    torch.manual_seed(0)
    return OmniFormer(
        core=Transformer(d_model=d_model, n_layers=1, n_heads=2),
        embedders={"graph": NodeEmbedder(d_model=d_model, vocab_sizes=[20])},
        heads={"it": LinkHead(d_model=d_model, d_link=8)},
        rules={"it": RULE},
    )


def batch_of(*sizes: int):
    return collate(rings(*sizes))


def test_the_loss_asks_of_each_pair_by_itself_within_its_own_sample():
    model, batch = model_with(), batch_of(7, 0, 2, 9)
    task = LinkPrediction(head=model.heads["it"], rule=RULE)
    step = task.step(model, batch, "it")
    z = model(batch, "it").detach().split(batch.lengths.tolist())
    links = batch.answer.parts["links"].values.split(batch.answer.counts["links"].tolist())
    nats = []
    for vectors, rows in zip(z, links, strict=True):
        for a, b, joined in rows.tolist():
            p = (vectors[a] @ vectors[b] / 8**0.5).sigmoid()
            nats.append(-(p if joined else 1 - p).log())
    torch.testing.assert_close(step.loss.detach(), torch.stack(nats).mean())
    assert step.count == len(nats) == 4 + 6


def test_metrics_rank_all_pairs_of_the_split():
    model = model_with()
    task = LinkPrediction(head=model.heads["it"], rule=RULE)
    metrics, scores, joined = task.metrics(), [], []
    for sizes in ((7, 9), (12,)):
        batch = batch_of(*sizes)
        step = task.step(model, batch, "it")
        task.update(metrics, step, batch)
        scores += step.outputs.tolist()
        joined += step.targets.tolist()
    pairs = [(a, b) for a, i in zip(scores, joined, strict=True) for b, j in zip(scores, joined, strict=True) if i > j]
    area = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    assert metrics.compute()["auroc"].item() == pytest.approx(area)
    assert 0 < metrics.compute()["average_precision"].item() <= 1


def test_graphs_without_edges_lose_nothing():
    model = model_with()
    step = LinkPrediction(head=model.heads["it"], rule=RULE).step(model, batch_of(2, 0), "it")
    step.loss.backward()
    assert (step.loss.item(), step.count) == (0.0, 0)


def test_one_batch_can_be_learned_by_heart(share_left):
    model, batch = model_with(d_model=32), batch_of(9, 12, 15)
    task = LinkPrediction(head=model.heads["it"], rule=RULE)
    assert share_left(task, model, batch) < 0.1


def test_data_without_questions_is_told():
    model = model_with()
    node = Tokens(values=torch.zeros(1, 1).long(), positions=torch.zeros(1, 0), modality="graph")
    with pytest.raises(ValueError, match="sample 'a' has no answer 'links'"):
        LinkPrediction(head=model.heads["it"]).step(model, collate([Sample(id="a", pieces=[node])]), "it")
