import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import VectorEmbedder
from omniformer.heads import TokenClassificationHead
from omniformer.model import OmniFormer
from omniformer.tasks.consistency import ConsistentTokenClassification

LABEL, MASK = torch.tensor([0, 1, 2, 1]), torch.tensor([True, False, True, False])


@pytest.fixture
def parts():
    torch.manual_seed(0)
    head = TokenClassificationHead(d_model=16, n_classes=3)
    torch.nn.init.normal_(head.classes.weight)
    core = Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.2, dropout=0.3)
    model = OmniFormer(core=core, embedders={"graph": VectorEmbedder(d_model=16, features=3)}, heads={"it": head})
    piece = Tokens(values=torch.randn(4, 3), positions=torch.zeros(4, 0), modality="graph")
    batch = collate([Sample(id="g", pieces=[piece], token_targets={"label": LABEL, "mask": MASK})])
    return model, batch, head


def test_the_loss_is_that_of_the_labels_plus_the_distance_of_views_from_their_sharpened_mean(parts):
    model, batch, head = parts
    task = ConsistentTokenClassification(head=head, n_classes=3, n_views=3, consistency=2.0, temperature=0.4)
    torch.manual_seed(1)
    loss = task.step(model.train(), batch, "it").loss
    torch.manual_seed(1)
    views = [model(batch, "it").softmax(-1) for _ in range(3)]
    expected = torch.zeros(())
    for view in views:
        expected = expected - (view[0, 0].log() + view[2, 2].log()) / 2 / 3
    for node in range(4):
        mean = sum(view[node] for view in views) / 3
        sharp = torch.tensor([p**2.5 for p in mean.tolist()])
        sharp = sharp / sharp.sum()
        for view in views:
            expected = expected + 2.0 * ((view[node] - sharp) ** 2).sum() / 4 / 3
    torch.testing.assert_close(loss, expected)


def test_evaluation_is_that_of_plain_classification_and_training_agrees_more(parts):
    model, batch, head = parts
    task = ConsistentTokenClassification(head=head, n_classes=3)
    step = task.step(model.eval(), batch, "it")
    log_p = model(batch, "it").log_softmax(-1)
    torch.testing.assert_close(step.loss, -(log_p[0, 0] + log_p[2, 2]) / 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    found = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = task.step(model.train(), batch, "it").loss
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert sum(found[-5:]) / 5 < 0.2 * found[0]


def test_one_view_cannot_agree_with_itself(parts):
    with pytest.raises(ValueError, match="n_views=1 must be at least 2"):
        ConsistentTokenClassification(head=parts[2], n_classes=3, n_views=1)
