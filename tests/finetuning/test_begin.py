"""What a run takes over from a published model, and the way back."""

import json

import pytest
import torch
from tiny_runs import LM, numbers, run, state
from twins import transformers

import omniformer
from omniformer import pretrained
from omniformer.evaluate import main as evaluate
from omniformer.finetuning import Beginning, FinishedRun
from omniformer.generate import main as generate
from omniformer.predict import main as predict
from omniformer.training.warm_start import Loaded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


POOLER = "task.head.pool={_target_: omniformer.heads.DenseFirstToken, _partial_: true}"


def test_core_embedder_and_tokenizer_are_the_published_ones_whatever_else_is_configured(published, language):
    before, after = pretrained.load(published), omniformer.load(language)
    assert after.model.core.d_model == 24  # core=tiny has 128
    mine, theirs = after.members["text"].tokenizers["text"], before.members["causal_lm"].tokenizers["text"]
    assert mine.digest == theirs.digest
    assert set(after.model.state_dict()) == {name.replace("causal_lm", "text") for name in before.model.state_dict()}
    assert after.members["text"].max_seq_len == 64


def test_a_head_of_the_published_kind_begins_with_its_weights(published, tmp_path):
    output = run(tmp_path, *LM, f"model.pretrained={published}", "optim.lr=1e-30")
    before, after = pretrained.load(published).model.state_dict(), state(output)
    assert all(torch.equal(tensor, after[name.replace("causal_lm", "text")]) for name, tensor in before.items())


def test_the_run_is_evaluated_predicted_with_and_generated_from_without_the_published_folder(
    published, labelled, language, tmp_path, capsys
):
    before = numbers(language)["test/loss"]
    evaluate([str(language)])
    assert numbers(language)["test/loss"] == pytest.approx(before, rel=1e-5)
    generate([str(language), "the cat", "--max-new-tokens", "4", "--temperature", "0"])
    assert "the cat" in capsys.readouterr().out
    classes = run(tmp_path, *labelled, f"model.pretrained={published}")
    before = numbers(classes)["test/loss"]
    evaluate([str(classes)])
    assert numbers(classes)["test/loss"] == pytest.approx(before, rel=1e-5)
    (tmp_path / "it.txt").write_text("the cat number 3")
    predict([str(classes), str(tmp_path / "it.txt"), "--json"])
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])["probabilities"]) == {"cat", "dog"}


def test_a_run_of_a_published_family_is_written_back_and_read_by_the_reference(language, tmp_path):
    model = omniformer.load(language)
    model.save_pretrained(tmp_path / "back")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "back").eval()
    ids = torch.arange(20)[None]
    found = pretrained.as_reference(model.as_published())(input_ids=ids).logits
    torch.testing.assert_close(found, theirs(input_ids=ids).logits, rtol=1.3e-6, atol=1e-5)


@pytest.mark.slow
def test_heads_that_the_family_does_not_have_cannot_be_written_back_which_is_said_before_it_learns(
    published, labelled, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr("omniformer.finetuning.published.rank_zero_info", said.append)
    output = run(tmp_path, *labelled, f"model.pretrained={published}")
    assert any("will not read what this run makes: no GPT2 has the heads of this run" in each for each in said)
    with pytest.raises(ValueError, match=r"no GPT2 has the heads of this run \(ClassificationHead\)"):
        omniformer.load(output).save_pretrained(tmp_path / "back")


@pytest.mark.slow
def test_a_run_that_began_from_a_published_model_is_one_to_begin_from(language, labelled, tmp_path):
    output = run(tmp_path, *labelled, f"model.pretrained={language}", "model.freeze=['core.*', 'embedders.*']")
    old, new = state(language), state(output)
    kept = [name for name in old if name.startswith(("core.", "embedders."))]
    assert len(kept) > 20 and all(torch.equal(old[name], new[name]) for name in kept)
    assert new["heads.text.classes.weight"].any()


@pytest.mark.slow
def test_a_classifier_on_a_masked_language_model_is_written_back_as_the_familys_classifier(
    encoder, labelled, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr("omniformer.finetuning.published.rank_zero_info", said.append)
    output = run(tmp_path, *labelled, f"model.pretrained={encoder}", POOLER)
    assert said and not any("will not read" in each for each in said)
    model = omniformer.load(output)
    model.save_pretrained(tmp_path / "back")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").eval()
    assert theirs.config.id2label == {0: "cat", 1: "dog"}
    ids = torch.randint(5, 100, (3, 9), generator=torch.Generator().manual_seed(0))
    found = pretrained.as_reference(model.as_published())(input_ids=ids).logits
    torch.testing.assert_close(found, theirs(input_ids=ids).logits, rtol=1.3e-6, atol=1e-5)
    # And a run that begins from it takes over its classifier, where the data has as many classes.
    again = run(tmp_path / "again", *labelled, f"model.pretrained={tmp_path / 'back'}", "optim.lr=1e-30")
    old, new = model.model.state_dict(), state(again)
    for name, tensor in old.items():  # a rate of 1e-30 moves what is exactly zero
        torch.testing.assert_close(new[name], tensor, rtol=0, atol=1e-28)


@pytest.mark.slow
def test_further_special_tokens_get_rows_of_their_own(published, tmp_path):
    output = run(tmp_path, *LM, f"model.pretrained={published}", "model.special_tokens=['<user>', '<model>']")
    before, after = pretrained.load(published), omniformer.load(output)
    n = pretrained.vocabulary_size(before)
    tokenizer = after.members["text"].tokenizers["text"]
    assert [tokenizer.special_id(name) for name in ("<user>", "<model>")] == [n, n + 1]
    assert after.model.embedders["text"].table.num_embeddings == n + 2
    evaluate([str(output)])
    after.save_pretrained(tmp_path / "back")
    assert transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "back").config.vocab_size == n + 2
    again = pretrained.load(tmp_path / "back").members["causal_lm"].tokenizers["text"]
    assert again.special_id("<model>") == n + 1


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*LM, "model.lora={rank: 4}"], "model.lora: adapts a model that was trained before"),
        ([*LM, "model.special_tokens=['<a>']"], "model.special_tokens: are added to a published vocabulary"),
        ([*LM, "model.image_size=[8, 8]"], "model.image_size: changes the size of pictures"),
        ([*LM, "model.lora={ranck: 4}"], "model.lora.ranck: unknown key; did you mean model.lora.rank?"),
        ([*LM, "model.lora={rank: 0}"], "model.lora.rank: received 0, accepted: a whole number: at least 1"),
    ],
)
def test_keys_without_effect_or_sense_are_told(tmp_path, arguments, words, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, *arguments)
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_no_step_with_a_probe_is_better_than_without(published, labelled, tmp_path):
    fixed = [*labelled, f"model.pretrained={published}", "optim.lr=1e-30"]
    plain, probed = (run(tmp_path / each, *fixed, f"model.probe={each}") for each in ("false", "true"))
    assert numbers(probed)["best/val/loss"] < numbers(plain)["best/val/loss"]


def test_a_run_ends_no_worse_than_the_probe_that_it_begins_as(published, labelled, tmp_path, capsys):
    # By itself, since all but the head comes with weights; a rate of 10 ruins them in one step.
    output = run(tmp_path, *labelled, f"model.pretrained={published}", "optim.lr=10", "trainer.max_epochs=2")
    found, before, after = numbers(output), pretrained.load(published).model.state_dict(), state(output)
    assert found["best/val/loss"] < 0.01 < found["val/loss"]
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if name.startswith("core."))
    assert "no validation has a better val/loss than 0.0002, that before the first step" in capsys.readouterr().err


@pytest.mark.parametrize(("fresh", "knows"), [("heads.text.classes.weight", True), ("embedders.text.table", False)])
def test_a_head_begins_as_a_probe_by_itself_only_where_nothing_else_is_fresh(fresh, knows):
    run = FinishedRun("it", predictor := object())  # pyright: ignore[reportArgumentType]
    assert run.trained is predictor and not run.knows and not Beginning().knows
    run.loaded = Loaded(loaded=("core.a",), missing=(), unexpected=(), mismatched=(fresh,))
    assert run.knows is knows
