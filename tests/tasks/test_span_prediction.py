import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.core.rotary import Rotary
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.heads.span import SpanHead
from omniformer.model import OmniFormer
from omniformer.tasks.span_prediction import SpanPrediction
from omniformer.tasks.task import Step


def model_with() -> OmniFormer:
    torch.manual_seed(0)
    return OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2, rotary=Rotary),
        embedders={"text": IdEmbedder(d_model=16, vocab_size=11)},
        heads={"it": SpanHead(d_model=16)},
    )


def batch_of(*rows: tuple[int, tuple[int, int]]):
    chance = torch.Generator().manual_seed(0)
    return collate(
        [
            Sample(
                id=f"s{i}",
                pieces=[
                    Tokens(
                        values=torch.randint(11, (n,), generator=chance),
                        positions=torch.arange(n)[:, None].float(),
                        modality="text",
                    )
                ],
                targets={"span": torch.tensor(span)},
            )
            for i, (n, span) in enumerate(rows)
        ]
    )


def test_the_loss_is_that_of_start_and_end_among_the_tokens_of_the_sample():
    model, batch = model_with(), batch_of((4, (1, 2)), (0, (0, 0)), (3, (-1, -1)), (5, (0, 4)))
    torch.nn.init.normal_(model.heads["it"].ends.weight)
    step = SpanPrediction(head=model.heads["it"]).step(model, batch, "it")
    first, _, _, last = model(batch, "it").detach().split([4, 0, 3, 5])
    log_p, log_q = first.log_softmax(0), last.log_softmax(0)
    torch.testing.assert_close(step.loss.detach(), -(log_p[1, 0] + log_p[2, 1] + log_q[0, 0] + log_q[4, 1]) / 4)
    assert step.count == 2
    assert step.outputs.shape == step.targets.shape == (4, 2)  # those without an answer are said, and not counted


def test_spans_are_compared_as_wholes_and_by_their_tokens():
    task = SpanPrediction(head=SpanHead(d_model=16))
    metrics = task.metrics()
    found, wanted = torch.tensor([[1, 2], [0, 3], [5, 5]]), torch.tensor([[1, 2], [2, 5], [0, 1]])
    task.update(metrics, Step(loss=torch.zeros(()), count=3, outputs=found, targets=wanted), None)
    values = {name: value.item() for name, value in metrics.compute().items()}
    assert values == pytest.approx({"exact_match": 1 / 3, "token_f1": (1 + 2 * 2 / 8 + 0) / 3})


@pytest.mark.parametrize("span", [(1, 4), (2, 1), (-1, 2)])
def test_spans_that_the_sample_does_not_have_are_told(span):
    model = model_with()
    with pytest.raises(ValueError, match=r"sample 's1' has the span \[.*\] and 4 tokens"):
        SpanPrediction(head=model.heads["it"]).step(model, batch_of((2, (0, 1)), (4, span)), "it")


def test_a_batch_without_spans_loses_nothing():
    model = model_with()
    step = SpanPrediction(head=model.heads["it"]).step(model, batch_of((3, (-1, -1)), (0, (0, 0))), "it")
    step.loss.backward()
    assert (step.loss.item(), step.count) == (0.0, 0)


def test_one_batch_can_be_learned_by_heart(share_left):
    model, batch = model_with(), batch_of((6, (1, 3)), (8, (4, 4)), (5, (0, 4)), (7, (2, 6)))
    task = SpanPrediction(head=model.heads["it"])
    assert share_left(task, model, batch) < 0.2


def test_data_without_spans_is_told():
    model = model_with()
    plain = collate([Sample(id="a", pieces=[])])
    with pytest.raises(ValueError, match="sample 'a' has no target 'span'"):
        SpanPrediction(head=model.heads["it"]).step(model, plain, "it")
