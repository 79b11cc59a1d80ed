import pytest
import torch
from torch import nn

from omniformer.core.block import GatedCrossBlock
from omniformer.core.transformer import Transformer
from omniformer.training.warm_start import freeze, load_weights, trainable


def test_weights_of_the_same_name_and_shape_are_taken_over_and_the_rest_is_reported():
    torch.manual_seed(0)
    saved = nn.ModuleDict({"core": nn.Linear(2, 2), "head": nn.Linear(2, 5), "gone": nn.Linear(1, 1)})
    model = nn.ModuleDict({"core": nn.Linear(2, 2), "head": nn.Linear(2, 3), "new": nn.Linear(2, 2)})
    fresh = model["head"].weight.clone()
    report = load_weights(model, saved.state_dict())
    assert torch.equal(model["core"].weight, saved["core"].weight) and torch.equal(model["head"].weight, fresh)
    assert report.loaded == ("core.weight", "core.bias")
    assert report.missing == ("new.weight", "new.bias")
    assert report.unexpected == ("gone.weight", "gone.bias")
    assert report.mismatched == ("head.weight", "head.bias")
    assert "2 of another shape (head.weight, head.bias)" in str(report)


def test_weights_of_a_language_model_fit_into_a_core_with_gated_cross_attention():
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 2}
    report = load_weights(Transformer(**sizes, block=GatedCrossBlock), Transformer(**sizes).state_dict())
    assert not report.mismatched and not report.unexpected
    assert report.missing and all(".cross" in name for name in report.missing)


def test_nothing_that_fits_is_an_error():
    with pytest.raises(ValueError, match="none of the 2 saved weights fits"):
        load_weights(nn.Linear(2, 2), nn.Linear(3, 3).state_dict())


def test_frozen_parameters_keep_their_values_and_frozen_modules_do_not_drop():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), nn.Linear(2, 2), nn.Dropout(0.5))
    assert freeze(model, ["*", "!1.*"]) == ("0.0.weight", "0.0.bias")
    assert [module.training for module in (model[0], model[0][0], model[1], model[2])] == [False, False, True, True]
    assert trainable(model) == 6
    before = model[0][0].weight.clone()
    model(torch.ones(3, 2)).sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0).step()
    assert torch.equal(model[0][0].weight, before)


def test_a_tied_table_is_frozen_under_either_name():
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False), "c": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    freeze(model, ["b.*"])
    assert not model["a"].weight.requires_grad


@pytest.mark.parametrize(
    ("patterns", "words"), [(["cor.*"], "'cor.\\*' matches no parameter"), (["*"], "leaves no parameter to train")]
)
def test_patterns_without_effect_or_with_too_much_are_told(patterns, words):
    with pytest.raises(ValueError, match=words):
        freeze(nn.ModuleDict({"core": nn.Linear(2, 2)}), patterns)
