"""What learns in a run that begins from a published model."""

import json

import pytest
import torch
from tiny_published import gpt2
from tiny_runs import LM, numbers, run, state
from torch import nn

import omniformer
from omniformer import pretrained
from omniformer.adapters import load_adapter, merge
from omniformer.evaluate import main as evaluate
from omniformer.finetuning.weights import check_rate
from omniformer.inputs import batch_of, sample_of
from omniformer.quantization import quantize

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_lora_leaves_the_published_weights_and_its_own_files_beside_the_merged_model(published, tmp_path):
    lora = "model.lora={rank: 4, targets: [query, value], dropout: 0.1}"
    output = run(tmp_path, *LM, f"model.pretrained={published}", lora)
    before, after = pretrained.load(published), omniformer.load(output)
    evaluate([str(output)])
    changed = {
        name.replace("heads.text", "heads.causal_lm")
        for name, tensor in after.model.state_dict().items()
        if not torch.equal(tensor, before.model.state_dict()[name.replace("heads.text", "heads.causal_lm")])
    }
    assert changed == {f"core.blocks.{i}.attention.branch.qkv.weight" for i in range(2)}
    load_adapter(before.model, output / "adapter")
    merge(before.model)
    for i in range(2):
        name = f"core.blocks.{i}.attention.branch.qkv.weight"
        torch.testing.assert_close(before.model.state_dict()[name], after.model.state_dict()[name])
    assert (output / "adapter" / "adapter.safetensors").stat().st_size < 20_000


@pytest.mark.slow
def test_with_lora_new_heads_learn_and_what_is_frozen_stays(published, labelled, tmp_path):
    output = run(tmp_path / "a", *labelled, f"model.pretrained={published}", "model.lora={rank: 2}")
    assert state(output)["heads.text.classes.weight"].any()
    before = pretrained.load(published).model.state_dict()
    output = run(
        tmp_path / "b", *LM, f"model.pretrained={published}", "model.lora={rank: 2}", "model.freeze=['core.*']"
    )
    name = "core.blocks.0.attention.branch.qkv.weight"
    assert not torch.equal(before[name], state(output)[name])  # what is frozen is the weight, not its update


@pytest.mark.slow
def test_over_rounded_weights_adapters_alone_learn_and_the_run_is_written_with_what_they_learned_beside(tmp_path):
    wide = gpt2(tmp_path / "gpt2", n_embd=64, n_head=4)
    output = run(tmp_path / "run", *LM, f"model.pretrained={wide}", "model.lora={rank: 2}", "model.weights=int4")
    run_again = omniformer.load(output)
    assert numbers(output)["parameters"] == sum(each.numel() for each in run_again.model.parameters()) + 1024
    before = pretrained.load(wide, weights="int4")
    load_adapter(before.model, output / "adapter")
    measured = numbers(output)
    evaluate([str(output), "--weights", "int8"])
    again = json.loads((output / "metrics-int8.json").read_text())
    assert numbers(output) == measured and again["test/loss"] == pytest.approx(measured["test/loss"], rel=0.01)
    assert again["test/loss"] != measured["test/loss"]
    texts = ["the big cat is here.", "the red dog"]
    with torch.enable_grad():  # so that rounded weights are multiplied as floating-point numbers, as in training
        ours, theirs = outputs(run_again, texts), outputs(before, texts)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    plain = pretrained.load(wide)
    quantize(plain.model, "int8")
    assert not torch.allclose(outputs(plain, texts), theirs, atol=1e-2)
    with pytest.raises(SystemExit):
        run(tmp_path / "no", *LM, f"model.pretrained={wide}", "model.weights=int8")


def outputs(predictor, texts):
    """What a model of one task makes of texts."""
    ((name, member),) = predictor.members.items()
    batch = batch_of([sample_of(text, text, member.tokenizers) for text in texts], predictor.model)
    return predictor.model(batch, name)


@pytest.mark.slow
def test_a_stopped_run_with_adapters_goes_on_as_if_nothing_had_happened(published, tmp_path):
    options = [*LM, f"model.pretrained={published}", "model.lora={rank: 2, dropout: 0.1}", "optim.schedule=constant"]
    options += ["callbacks.recent.every_minutes=0.0001", "callbacks.best=null"]
    whole = run(tmp_path / "whole", *options, "trainer.max_epochs=4")
    half = run(tmp_path / "half", *options, "trainer.max_epochs=2")
    again = run(tmp_path / "half", *options, "trainer.max_epochs=4", f"resume={half}")
    resumed, uninterrupted = state(again), state(whole)
    assert numbers(again)["steps"] == numbers(whole)["steps"]
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in resumed)


@pytest.mark.slow
def test_rates_by_pattern_and_by_depth_reach_the_published_parts(published, tmp_path, capsys):
    still = "optim.lr_of={core.*: 1e-30, embedders.*: 1e-30}"
    output = run(tmp_path, *LM, f"model.pretrained={published}", still, "optim.layer_decay=0.9")
    before, after = pretrained.load(published).model.state_dict(), state(output)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if not name.startswith("heads."))
    with pytest.raises(SystemExit):
        run(tmp_path / "b", *LM, f"model.pretrained={published}", "optim.lr_of={cores.*: 1e-5}")
    assert "lr_of: 'cores.*' fits no parameter that is trained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("optim", "options", "said"),
    [
        ({"lr": 4e-3}, {}, "0.004"),
        ({"lr": 1e-4}, {}, None),
        ({"lr": 4e-3, "lr_of": {"core.*": 1e-4}}, {}, None),
        ({"lr": 1e-4, "lr_of": {"core.*": 1e-4, "core.1.*": 2e-3}}, {}, "0.002"),
        ({"lr": 3e-5, "lr_of": {"core.*": 4e-4}}, {}, "0.0004"),  # what prepare proposes for classes of texts
        ({"lr": 4e-3}, {"lora": {"rank": 4}}, None),
    ],
)
def test_a_published_core_that_learns_as_fast_as_a_fresh_one_is_told(optim, options, said, caplog):
    model = nn.ModuleDict({"core": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "heads": nn.Linear(2, 2)})
    check_rate(model, {"optim": optim, "model": options}, "models/bert")
    assert [f"models/bert: its core learns at a rate of {said}" in text for text in caplog.messages] == [True] * bool(
        said
    )
    caplog.clear()
    model["core"].requires_grad_(False)
    check_rate(model, {"optim": optim, "model": options}, "models/bert")
    assert not caplog.messages  # the head may learn as it likes
