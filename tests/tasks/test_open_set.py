import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import VectorEmbedder
from omniformer.heads import ClassificationHead
from omniformer.model import OmniFormer
from omniformer.tasks.open_set import Hits, OpenSetClassification, best_shift
from omniformer.tasks.task import Step

LABELS = ("weather", "oos", "music")


def task_with(head=None, **changes) -> OpenSetClassification:
    head = ClassificationHead(d_model=16, n_classes=3) if head is None else head
    return OpenSetClassification(**{"head": head, "n_classes": 3, "labels": LABELS, "out_of_scope": "oos", **changes})


def measured(said, labels) -> dict[str, float]:
    task = task_with()
    metrics = task.metrics()
    for start in range(0, len(said), 2):  # in batches of two
        outputs = torch.nn.functional.one_hot(torch.tensor(said[start : start + 2]), 3).float()
        targets = torch.tensor(labels[start : start + 2])
        task.update(metrics, Step(loss=torch.zeros(()), count=len(targets), outputs=outputs, targets=targets), None)
    return {name: value.item() for name, value in metrics.compute().items()}


def test_both_sides_of_the_line_are_counted_by_themselves():
    found = measured(said=[0, 1, 2, 1, 1, 0, 2], labels=[0, 0, 2, 1, 1, 1, 0])
    assert found == pytest.approx({"accuracy": 4 / 7, "in_scope_accuracy": 2 / 4, "out_of_scope_recall": 2 / 3})


def test_a_model_that_never_says_none_recalls_nothing():
    assert measured(said=[0, 2, 0, 0], labels=[0, 2, 1, 1])["out_of_scope_recall"] == 0


def test_a_side_without_samples_is_not_a_number():
    metric = Hits(only=1)
    metric.update(torch.eye(3), torch.tensor([0, 2, 2]))
    assert metric.compute().isnan()


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="out_of_scope='none' is none of the 3 classes: weather, oos, music"):
        task_with(out_of_scope="none")


def test_one_batch_can_be_learned_by_heart(share_left):
    torch.manual_seed(0)
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2),
        embedders={"audio": VectorEmbedder(d_model=16, features=3)},
        heads={"it": ClassificationHead(d_model=16, n_classes=3)},
    )
    frames = [Tokens(values=torch.randn(n, 3), positions=torch.zeros(n, 1), modality="audio") for n in (2, 3, 1, 4, 0)]
    batch = collate(
        [Sample(id=str(i), pieces=[each], targets={"label": torch.tensor(i % 3)}) for i, each in enumerate(frames)]
    )
    task = task_with(model.heads["it"])
    assert share_left(task, model, batch, lr=0.02) < 0.1


@pytest.mark.parametrize("seed", range(20))
def test_the_best_shift_is_as_good_as_any_that_is_tried(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(30, 4, generator=generator).mul(3).round()  # with many equals
    labels = torch.randint(0, 4, (30,), generator=generator)
    shift, before, after = best_shift(logits, labels, of=1)

    def accuracy(value):
        logits_then = logits.double() + torch.tensor([0, value, 0, 0]).double()
        return float((logits_then.argmax(-1) == labels).double().mean())

    tried = [step / 4 + 0.125 for step in range(-100, 100)]  # between equals, which go either way
    assert after == pytest.approx(accuracy(shift)) == pytest.approx(max(map(accuracy, tried)))
    assert before == pytest.approx(float((logits.argmax(-1) == labels).double().mean()))


def test_the_offset_of_none_alone_is_set_by_validation():
    head = ClassificationHead(d_model=2, n_classes=3)
    before = {name: each.clone() for name, each in head.state_dict().items()}
    task = task_with(head)
    assert task.calibrate is not None and task_with(calibrate=False).calibrate is None
    outputs = torch.tensor([[4.0, 0.0, 0.0], [1.0, 0.0, 0.9], [0.0, 0.0, 5.0]])
    said = task.calibrate(outputs, torch.tensor([0, 1, 2]))
    assert said.startswith("the offset of 'oos' is changed by +2.500, for an accuracy on validation of 1.0000 in")
    bias = head.classes.bias.tolist()
    assert bias == [0.0, 2.5, 0.0] and torch.equal(head.classes.weight, before["classes.weight"])


@pytest.mark.parametrize(
    ("bias", "labels", "why"),
    [(False, [0, 1], "its head has no offsets that learn"), (True, [0, 2], "no sample of validation is of it")],
)
def test_where_nothing_can_be_told_the_offset_stays_which_is_said(bias, labels, why):
    task = task_with(ClassificationHead(d_model=2, n_classes=3, bias=bias))
    said = task.calibrate(torch.eye(3)[:2], torch.tensor(labels))
    assert said == f"the offset of 'oos' stays as it is: {why}"
