import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import VectorEmbedder
from omniformer.heads import ClassificationHead
from omniformer.model import OmniFormer
from omniformer.tasks.open_set import Hits, OpenSetClassification
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
