"""The core that a run gets: the published one, with other keys, other parts, and other senses."""

import json

import pytest
import torch
from tiny_published import vit
from tiny_runs import DIGITS, LM, run, state
from twins import transformers

import omniformer
from omniformer import pretrained
from omniformer.evaluate import main as evaluate
from omniformer.finetuning.recipe import _laid_over

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_keys_are_laid_over_the_published_core(published, tmp_path):
    output = run(tmp_path, *LM, f"model.pretrained={published}", "model.core={dropout: 0.3, attention: {dropout: 0.2}}")
    recipe = json.loads((output / "model" / "config.json").read_text())["recipe"]["core"]
    assert (recipe["dropout"], recipe["attention"]["dropout"], recipe["d_model"]) == (0.3, 0.2, 24)
    assert recipe["attention"]["_target_"] == "omniformer.core.attention.multihead.SelfAttention"


@pytest.mark.slow
def test_keys_are_laid_over_the_core_of_a_run_from_fresh_weights_too(tmp_path):
    output = run(tmp_path, *LM, "core.d_model=32", "core.n_layers=1", "model.core={dropout: 0.3}")
    assert json.loads((output / "model" / "config.json").read_text())["recipe"]["core"]["dropout"] == 0.3


@pytest.mark.slow
def test_gated_cross_attention_is_put_into_a_frozen_published_model(published, tmp_path):
    output = run(tmp_path, "experiment=captioning_gated", *DIGITS, f"model.pretrained={published}")
    old, new = pretrained.load(published).model.state_dict(), state(output)
    assert all(torch.equal(tensor, new[name.replace("causal_lm", "captioning_gated")]) for name, tensor in old.items())
    assert new["core.blocks.0.cross.gate"].any() and "core.blocks.1.cross.gate" not in new
    evaluate([str(output)])


def test_while_the_gates_are_shut_the_published_model_says_bit_for_bit_what_it_said(published, tmp_path):
    from omniformer.config import entry_point
    from omniformer.experiment import assemble

    @entry_point("train")
    def composed(config):
        return config

    config = composed(["experiment=captioning_gated", *DIGITS, f"model.pretrained={published}"])
    experiment = assemble(config)
    model, batch = experiment.model.eval(), next(iter(experiment.data.train_dataloader()))["captioning_gated"]
    whole = pretrained.load(published).model
    x, layout = model.decode(batch, "captioning_gated")
    expected, _ = whole.encode(batch.answer, "causal_lm")
    assert torch.equal(model.heads["captioning_gated"](x, layout), whole.heads["causal_lm"](expected, layout))


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "learns", ["model.freeze=['core.*', 'embedders.text.*']", "model.lora={rank: 2} model.freeze=[]"]
)
def test_pictures_are_a_prefix_of_a_published_language_model(published, tmp_path, learns):
    options = ["experiment=prefix_captioning", *DIGITS, "task.strategy.n_beams=1", "task.max_new_tokens=2"]
    arguments = learns.split(" model.")
    arguments = [arguments[0], *(f"model.{each}" for each in arguments[1:])]
    output = run(tmp_path, *options, *arguments, f"model.pretrained={published}")
    old, new = pretrained.load(published).model.state_dict(), state(output)
    kept = [
        name for name in old if name.startswith("embedders.") or ("lora" not in learns and name.startswith("core."))
    ]
    assert kept and all(torch.equal(old[name], new[name]) for name in kept)
    if "lora" in learns:
        changed = {name for name in old if name in new and not torch.equal(old[name], new[name])}
        assert changed == {f"core.blocks.{i}.attention.branch.qkv.weight" for i in range(2)}
    assert omniformer.load(output).members["prefix_captioning"].given == ("vision",)
    evaluate([str(output)])


@pytest.mark.slow
def test_pictures_of_another_size_and_new_classes_on_a_published_core(tmp_path):
    source = vit(tmp_path / "it")
    output = run(tmp_path, "modality=vision", f"model.pretrained={source}", "model.image_size=[16, 12]")
    model = omniformer.load(output)
    assert model.model.embedders["vision"].embedder.position.sizes == (4, 3)
    assert model.model.heads["vision"].classes.out_features == 10
    evaluate([str(output)])
    model.save_pretrained(tmp_path / "back")
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "back").eval()
    pixels = torch.randn(2, 1, 16, 12)
    found = pretrained.as_reference(model.as_published())(pixel_values=pixels).logits
    torch.testing.assert_close(found, theirs(pixel_values=pixels).logits, rtol=1.3e-6, atol=1e-5)


def test_a_part_that_an_old_run_names_where_it_stood_before_takes_further_keys():
    saved = {"attention": {"_target_": "omniformer.core.attention.topk.TopKAttention", "top_k": 4, "bias": False}}
    keys = {"attention": {"_target_": "omniformer.core.variants.topk.TopKAttention", "top_k": 2}}
    assert _laid_over(saved, keys)["attention"] == {**keys["attention"], "bias": False}
