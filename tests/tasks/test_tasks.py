import math

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Batch, Sample, collate
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, MultiLabelHead, NextTokenHead, RegressionHead, TokenClassificationHead
from omniformer.model import OmniFormer
from omniformer.tasks import CausalLM, Classification, MultiLabelClassification, Regression, TokenClassification


def model_with(head, rule=None) -> OmniFormer:
    torch.manual_seed(0)
    embedders = {"text": IdEmbedder(d_model=16, vocab_size=11), "audio": VectorEmbedder(d_model=16, features=3)}
    core = Transformer(d_model=16, n_layers=1, n_heads=2)
    return OmniFormer(core=core, embedders=embedders, heads={"it": head}, rules={} if rule is None else {"it": rule})


def frames(n: int) -> Tokens:
    return Tokens(values=torch.randn(n, 3), positions=torch.arange(n)[:, None].float(), modality="audio")


def ids(*values: int) -> Tokens:
    return Tokens(values=torch.tensor(values), positions=torch.arange(len(values))[:, None].float(), modality="text")


def labelled(**targets) -> Batch:
    return collate(
        [
            Sample(id=str(n), pieces=[frames(n)], targets={k: v[i] for k, v in targets.items()})
            for i, n in enumerate((2, 3))
        ]
    )


def randomised(head):
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


def test_classification_loss_is_smoothed_cross_entropy():
    head = randomised(ClassificationHead(d_model=16, n_classes=4))
    model, batch = model_with(head), labelled(label=torch.tensor([3, 1]))
    step = Classification(head=head, n_classes=4, label_smoothing=0.1).step(model, batch, "it")
    log_p = model(batch, "it").log_softmax(-1)
    wanted = torch.full((2, 4), 0.1 / 4)
    wanted[0, 3] += 0.9
    wanted[1, 1] += 0.9
    torch.testing.assert_close(step.loss, -(wanted * log_p).sum(-1).mean())


def test_token_classification_counts_masked_tokens_only():
    head = randomised(TokenClassificationHead(d_model=16, n_classes=3))
    mask, label = torch.tensor([True, False, True, False]), torch.tensor([0, 1, 2, 1])
    batch = collate([Sample(id="g", pieces=[frames(4)], token_targets={"label": label, "mask": mask})])
    model = model_with(head)
    step = TokenClassification(head=head, n_classes=3).step(model, batch, "it")
    log_p = model(batch, "it").log_softmax(-1)
    torch.testing.assert_close(step.loss, -(log_p[0, 0] + log_p[2, 2]) / 2)
    assert step.count == 2


def test_multi_label_loss_is_binary_cross_entropy_over_all_questions():
    head = randomised(MultiLabelHead(d_model=16, n_classes=2))
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    model, batch = model_with(head), labelled(labels=labels)
    p = model(batch, "it").sigmoid()
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(MultiLabelClassification(head=head, n_classes=2).step(model, batch, "it").loss, expected)


def test_questions_without_an_answer_count_nowhere():
    head = randomised(MultiLabelHead(d_model=16, n_classes=2))
    labels = torch.tensor([[1.0, torch.nan], [0.0, 0.0]])
    model, batch = model_with(head), labelled(labels=labels)
    task = MultiLabelClassification(head=head, n_classes=2)
    step = task.step(model, batch, "it")
    p = model(batch, "it").sigmoid()
    torch.testing.assert_close(step.loss, -(p[0, 0].log() + (1 - p[1, 0]).log() + (1 - p[1, 1]).log()) / 3)
    metrics = task.metrics()
    task.update(metrics, step, batch)
    right = [(p[0, 0] > 0.5), (p[1, 0] <= 0.5), (p[1, 1] <= 0.5)]
    assert metrics.compute()["accuracy"].item() == pytest.approx(sum(map(int, right)) / 3)


def test_regression_reports_error_in_units_of_the_target():
    head = RegressionHead(d_model=16, target_mean=[10.0], target_std=[2.0])
    model, batch = model_with(head), labelled(value=torch.tensor([13.0, 6.0]))
    task = Regression(head=head, loss="l1")
    metrics = task.metrics()
    task.update(metrics, task.step(model, batch, "it"), batch)
    assert metrics.compute()["mae"].item() == pytest.approx(3.5)
    assert metrics.compute()["rmse"].item() == pytest.approx(math.sqrt((9 + 16) / 2))


def lm_loss_by_hand(model: OmniFormer, batch: Batch) -> torch.Tensor:
    """Loss of every text token but a sample's first, one at a time from the token before it in the joint sequence."""
    x, layout = model.encode(batch, "it")
    losses = []
    for place, target in zip(batch.places["text"].tolist(), batch.parts["text"].values.tolist(), strict=True):
        if layout.index[place] > 0:
            losses.append(-model.heads["it"].ids(x[place - 1]).log_softmax(-1)[target])
    return torch.stack(losses)


def test_language_model_predicts_each_token_from_the_one_before_it_even_across_modalities():
    head = NextTokenHead(d_model=16, vocab_size=11)
    model = model_with(head, Causal())
    batch = collate(
        [
            Sample(id="a", pieces=[frames(2), ids(4, 5)]),
            Sample(id="b", pieces=[ids(1, 2, 3)]),
            Sample(id="c", pieces=[ids(9)]),
        ]
    )
    step = CausalLM(head=head).step(model, batch, "it")
    torch.testing.assert_close(step.outputs, lm_loss_by_hand(model, batch))
    assert step.count == 4


def test_language_model_skips_tokens_that_are_context():
    head = NextTokenHead(d_model=16, vocab_size=11)
    model = model_with(head, Causal())
    batch = collate(
        [Sample(id="a", pieces=[ids(1, 2, 3, 4)], token_targets={"mask": torch.tensor([False, False, True, True])})]
    )
    step = CausalLM(head=head).step(model, batch, "it")
    torch.testing.assert_close(step.outputs, lm_loss_by_hand(model, batch)[1:])


def test_bits_per_byte_is_all_bits_over_all_bytes():
    head = NextTokenHead(d_model=16, vocab_size=11)
    model, task = model_with(head, Causal()), CausalLM(head=head)
    metrics, nats, n_tokens = task.metrics(), 0.0, 0
    for n_bytes, values in ((7, (1, 2, 3)), (20, (4, 5, 6, 7, 8))):
        batch = collate([Sample(id="a", pieces=[ids(*values)], targets={"bytes": torch.tensor(n_bytes)})])
        task.update(metrics, task.step(model, batch, "it"), batch)
        nats += lm_loss_by_hand(model, batch).sum().item()
        n_tokens += len(values) - 1
    found = metrics.compute()
    assert found["bits_per_byte"].item() == pytest.approx(nats / math.log(2) / 27, rel=1e-5)
    assert found["perplexity"].item() == pytest.approx(math.exp(nats / n_tokens), rel=1e-5)


def test_data_without_the_tasks_target_is_told_apart():
    head = ClassificationHead(d_model=16, n_classes=4)
    with pytest.raises(ValueError, match="sample '2' has no target 'label', only \\['value'\\]"):
        Classification(head=head, n_classes=4).step(model_with(head), labelled(value=torch.zeros(2)), "it")


def test_auroc_is_the_mean_over_questions_that_have_both_answers():
    metrics = MultiLabelClassification(head=MultiLabelHead(d_model=16, n_classes=3), n_classes=3).metrics()
    metrics["auroc"].update(
        torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.8, 0.4], [0.6, 0.5, 0.5]]),
        torch.tensor([[1, 0, 1], [0, 0, 1], [0, 1, 1]]),
    )
    # Question 0 ranks both no below the yes; question 1 ranks one of two; question 2 has no "no".
    assert metrics["auroc"].compute().item() == pytest.approx((1.0 + 0.5) / 2)
