import torch

from omniformer.core.layout import Layout
from omniformer.heads.distilled import DistilledHead

LAYOUT = Layout.from_lengths(2, 0, 3)


def test_each_token_has_its_classifier_and_the_prediction_is_their_mean():
    x = torch.randn(5, 4)
    head = DistilledHead(d_model=4, n_classes=3)
    for linear in (head.classes, head.distilled):
        torch.nn.init.normal_(linear.weight)
    own, taught = head.classes(x[[0, 2]]), head.distilled(x[[1, 3]])
    each = head.each(x, LAYOUT)
    torch.testing.assert_close(each[[0, 2]], torch.stack([own, taught], dim=1))
    torch.testing.assert_close(head(x, LAYOUT)[[0, 2]], (own + taught) / 2)
    assert not head(x, LAYOUT)[1].any()  # offsets begin at zero


def test_classes_start_equally_likely():
    head = DistilledHead(d_model=4, n_classes=5)
    torch.testing.assert_close(head.predict(head(torch.randn(5, 4), LAYOUT)), torch.full((3, 5), 0.2))
