"""Several tokens at once, beside a loop over single tokens."""

import pytest
import torch
from task_cases import CASES, text
from torch.nn import functional as F

from omniformer.batch import Sample, collate
from omniformer.tasks import CausalLM, MultiTokenPrediction


def built(weight=0.5):
    model, _ = CASES["causal, several at once"].build()
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model, MultiTokenPrediction(head=model.heads["it"], further_weight=weight)


SAMPLES = [Sample(id=str(i), pieces=[text(each)]) for i, each in enumerate(("abcd", "a", "hgfeab", "bc"))]


@pytest.mark.parametrize("hidden", [False, True])
def test_the_loss_is_that_of_every_pair_of_a_token_and_a_place_behind_it(hidden):
    model, task = built()
    samples = SAMPLES
    if hidden:  # of one sample only some tokens are to be predicted
        mask = torch.tensor([False, True, False, True, True, False])
        marks = [torch.ones(len(each.pieces[0]), dtype=torch.bool) for each in samples]
        marks[2] = mask
        samples = [
            Sample(id=each.id, pieces=each.pieces, token_targets={"mask": mark})
            for each, mark in zip(samples, marks, strict=True)
        ]
    batch, head = collate(samples), model.heads["it"]
    step = task.step(model.train(), batch, "it")
    x, _ = model.encode(batch, "it")
    nats, further, start = [], [], 0
    for number, sample in enumerate(samples):
        ids = sample.pieces[0].values
        for i in range(1, len(ids)):
            wanted = [True] * len(ids) if not hidden or number != 2 else mask.tolist()
            if not wanted[i]:
                continue
            before = x[start + i - 1]
            nats.append(F.cross_entropy(head.ids(before), ids[i]))
            for place in (1, 2):
                if i + place < len(ids) and wanted[i + place]:
                    further.append(F.cross_entropy(head.ids(head.further[place - 1](before)), ids[i + place]) / 2)
        start += len(ids)
    expected = (sum(nats) + 0.5 * sum(further)) / len(nats)
    torch.testing.assert_close(step.loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(step.outputs, torch.stack(nats), rtol=1e-4, atol=1e-5)
    assert step.count == len(nats)


def test_validation_reports_the_next_token_alone():
    model, task = built()
    plain = CausalLM(head=model.heads["it"])
    one, other = (each.step(model.eval(), collate(SAMPLES), "it") for each in (task, plain))
    assert torch.equal(one.loss, other.loss)


def test_several_tokens_of_a_text_are_learned():
    model, task = built(weight=1.0)
    batch, optimizer = collate([SAMPLES[0], SAMPLES[2]]), torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        task.step(model.train(), batch, "it").loss.backward()
        optimizer.step()
    x, _ = model.encode(batch, "it")
    found = model.heads["it"].further_scores(x, 1)[:2].argmax(-1)
    assert found.tolist() == text("cd").values.tolist()
