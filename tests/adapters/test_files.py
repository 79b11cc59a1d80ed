"""An adapter as a small folder: out, and into a fresh model."""

import json

import pytest
import torch
from torch import nn

from omniformer.adapters import LoRA, adapters, apply_lora, is_adapted, load_adapter, merge, save_adapter
from omniformer.core.layout import Layout
from omniformer.core.transformer import Transformer


def model(d_model=8):
    torch.manual_seed(0)
    core = Transformer(d_model=d_model, n_layers=2, n_heads=2)
    return nn.ModuleDict({"core": core, "heads": nn.ModuleDict({"it": nn.Linear(d_model, 3)})})


def outputs(whole):
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    return whole["heads"]["it"](whole["core"](x, Layout.from_lengths(2, 3)))


@pytest.fixture
def trained(tmp_path):
    whole = model()
    apply_lora(whole, LoRA(rank=3, alpha=5.0, dropout=0.1, rank_stabilised=True, targets=["query", "down"]))
    with torch.no_grad():
        for parameter in whole.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    save_adapter(whole, tmp_path / "adapter")
    return whole.eval(), tmp_path / "adapter"


def test_a_fresh_model_with_the_adapter_is_the_trained_one_with_its_new_head(trained):
    whole, folder = trained
    again = model().eval()
    paths = load_adapter(again, folder)
    assert paths == tuple(adapters(whole))
    assert torch.equal(outputs(again), outputs(whole))
    assert {n for n, p in again.named_parameters() if p.requires_grad} == {
        n for n, p in whole.named_parameters() if p.requires_grad
    }
    assert all(update.lora.dropout == 0.1 for _, update in adapters(again).values())


def test_the_folder_holds_what_was_learned_and_nothing_else(trained):
    whole, folder = trained
    learned = sum(p.nbytes for p in whole.parameters() if p.requires_grad)
    assert learned <= (folder / "adapter.safetensors").stat().st_size < learned + 4096


def test_what_is_merged_is_saved_all_the_same(trained, tmp_path):
    whole, folder = trained
    merge(whole)
    save_adapter(whole, tmp_path / "again")
    for name in ("adapter.json", "adapter.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_an_adapter_of_another_model_leaves_this_one_as_it_was(trained):
    _, folder = trained
    other = model(d_model=16)
    with pytest.raises(ValueError, match=r"lora.query.a is \[3, 8\], this model needs \[3, 16\]"):
        load_adapter(other, folder)
    assert not is_adapted(other)
    with pytest.raises(ValueError, match="which this model does not have"):
        load_adapter(nn.ModuleDict({"core": nn.Linear(2, 2)}), folder)


def test_mistakes_are_told(trained, tmp_path):
    whole, folder = trained
    with pytest.raises(ValueError, match="has an adapter already"):
        load_adapter(whole, folder)
    with pytest.raises(ValueError, match="no adapter to save"):
        save_adapter(model(), tmp_path)
    with pytest.raises(FileNotFoundError, match="looked for adapter.json and adapter.safetensors"):
        load_adapter(model(), tmp_path)
    (folder / "adapter.json").write_text(json.dumps({"adapters": {"core": {"rank": 1}}}))
    with pytest.raises(ValueError, match="adapter.json is damaged"):
        load_adapter(model(), folder)
