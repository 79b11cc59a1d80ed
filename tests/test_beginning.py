"""Fine-tuning: what a run takes over from a published model, what of it learns, and the way back."""

import json
from pathlib import Path

import pytest
import torch
from tiny_published import bert, gpt2
from twins import transformers

import omniformer
from omniformer import pretrained
from omniformer.adapters import load_adapter, merge
from omniformer.evaluate import main as evaluate
from omniformer.generate import main as generate
from omniformer.predict import main as predict
from omniformer.train import main as train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FAST = ["debug=fast", "logger=none", "callbacks.progress=null", "optim.lr=0.01", "optim.warmup_steps=0"]


def run(folder: Path, *arguments: str) -> Path:
    train([*FAST, *arguments, f"paths.output_root={folder}"])
    (output,) = (path for path in folder.glob("*/*") if path.is_dir())
    return output


def numbers(output: Path) -> dict[str, float]:
    return json.loads((output / "metrics.json").read_text())


def state(folder: Path) -> dict[str, torch.Tensor]:
    return omniformer.load(folder).model.state_dict()


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    return gpt2(tmp_path_factory.mktemp("gpt2") / "it")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> list[str]:
    """Arguments for a set of texts with two classes."""
    path = tmp_path_factory.mktemp("data") / "labelled.jsonl"
    rows = [{"text": f"the {animal} number {i}", "label": animal} for i in range(30) for animal in ("cat", "dog")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        "modality=text",
        "data=labelled_text_files",
        "task=classification",
        f"data.source.train={path}",
        "callbacks.best.monitor=val/loss",
    ]


LM = ["modality=text", "data.arrange.seq_len=32"]


@pytest.fixture(scope="module")
def language(published, tmp_path_factory) -> Path:
    """A run that goes on with the published language model."""
    return run(tmp_path_factory.mktemp("language"), *LM, f"model.pretrained={published}")


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


def test_heads_that_the_family_does_not_have_cannot_be_written_back(published, labelled, tmp_path):
    output = run(tmp_path, *labelled, f"model.pretrained={published}")
    with pytest.raises(ValueError, match=r"no GPT2 has the heads of this run \(ClassificationHead\)"):
        omniformer.load(output).save_pretrained(tmp_path / "back")


def test_a_run_that_began_from_a_published_model_is_one_to_begin_from(language, labelled, tmp_path):
    output = run(tmp_path, *labelled, f"model.pretrained={language}", "model.freeze=['core.*', 'embedders.*']")
    old, new = state(language), state(output)
    kept = [name for name in old if name.startswith(("core.", "embedders."))]
    assert len(kept) > 20 and all(torch.equal(old[name], new[name]) for name in kept)
    assert new["heads.text.classes.weight"].any()


def test_keys_are_laid_over_the_published_core(published, tmp_path):
    output = run(tmp_path, *LM, f"model.pretrained={published}", "model.core={dropout: 0.3, attention: {dropout: 0.2}}")
    recipe = json.loads((output / "model" / "config.json").read_text())["recipe"]["core"]
    assert (recipe["dropout"], recipe["attention"]["dropout"], recipe["d_model"]) == (0.3, 0.2, 24)
    assert recipe["attention"]["_target_"] == "omniformer.core.attention.multihead.SelfAttention"


def test_keys_are_laid_over_the_core_of_a_run_from_fresh_weights_too(tmp_path):
    output = run(tmp_path, *LM, "core.d_model=32", "core.n_layers=1", "model.core={dropout: 0.3}")
    assert json.loads((output / "model" / "config.json").read_text())["recipe"]["core"]["dropout"] == 0.3


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


def test_with_lora_new_heads_learn_and_what_is_frozen_stays(published, labelled, tmp_path):
    output = run(tmp_path / "a", *labelled, f"model.pretrained={published}", "model.lora={rank: 2}")
    assert state(output)["heads.text.classes.weight"].any()
    before = pretrained.load(published).model.state_dict()
    output = run(
        tmp_path / "b", *LM, f"model.pretrained={published}", "model.lora={rank: 2}", "model.freeze=['core.*']"
    )
    name = "core.blocks.0.attention.branch.qkv.weight"
    assert not torch.equal(before[name], state(output)[name])  # what is frozen is the weight, not its update


def test_a_stopped_run_with_adapters_goes_on_as_if_nothing_had_happened(published, tmp_path):
    options = [*LM, f"model.pretrained={published}", "model.lora={rank: 2, dropout: 0.1}", "optim.schedule=constant"]
    options += ["callbacks.recent.every_minutes=0.0001", "callbacks.best=null"]
    whole = run(tmp_path / "whole", *options, "trainer.max_epochs=4")
    half = run(tmp_path / "half", *options, "trainer.max_epochs=2")
    again = run(tmp_path / "half", *options, "trainer.max_epochs=4", f"resume={half}")
    resumed, uninterrupted = state(again), state(whole)
    assert numbers(again)["steps"] == numbers(whole)["steps"]
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in resumed)


def test_rates_by_pattern_and_by_depth_reach_the_published_parts(published, tmp_path, capsys):
    still = "optim.lr_of={core.*: 1e-30, embedders.*: 1e-30}"
    output = run(tmp_path, *LM, f"model.pretrained={published}", still, "optim.layer_decay=0.9")
    before, after = pretrained.load(published).model.state_dict(), state(output)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if not name.startswith("heads."))
    with pytest.raises(SystemExit):
        run(tmp_path / "b", *LM, f"model.pretrained={published}", "optim.lr_of={cores.*: 1e-5}")
    assert "lr_of: 'cores.*' fits no parameter that is trained" in capsys.readouterr().err


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


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return bert(tmp_path_factory.mktemp("bert") / "it", max_position_embeddings=16)


POOLER = "task.head.pool={_target_: omniformer.heads.DenseFirstToken, _partial_: true}"


def test_texts_that_are_too_long_for_it_are_cut_in_training_and_in_evaluation(encoder, labelled, tmp_path):
    output = run(tmp_path, *labelled, f"model.pretrained={encoder}")  # letters make more than 16 tokens of each text
    before = numbers(output)["test/loss"]
    evaluate([str(output)])
    assert numbers(output)["test/loss"] == pytest.approx(before, rel=1e-5)
    assert type(omniformer.load(output).members["text"].tokenizers["text"]).__name__ == "SubwordTokenizer"


def test_a_classifier_on_a_masked_language_model_is_written_back_as_the_familys_classifier(encoder, labelled, tmp_path):
    output = run(tmp_path, *labelled, f"model.pretrained={encoder}", POOLER)
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
    assert all(torch.equal(tensor, new[name]) for name, tensor in old.items())


HIDDEN = [
    "task=masked_lm",
    "data.arrange={_target_: omniformer.data.Masked, modality: text, max_tokens: 16, token: '[MASK]'}",
]


def test_masked_language_modelling_goes_on_with_the_published_head_and_its_own_mask(
    encoder, labelled, tmp_path, capsys
):
    begin = [*labelled, *HIDDEN, f"model.pretrained={encoder}"]
    output = run(tmp_path / "a", *begin)
    model = omniformer.load(output)
    assert model.model.heads["text"].transform.map.weight.shape == (24, 24)
    model.save_pretrained(tmp_path / "back")
    assert transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "back").config.vocab_size
    with pytest.raises(SystemExit):
        run(tmp_path / "b", *begin, "embedder=ids_maskable")
    assert "data.arrange.token=[MASK]" in capsys.readouterr().err


# Pictures of digits whose names are to be written, in the place of those that are read from files.
DIGITS = ["data=digit_words", "data.answer=text", "tokenizer.vision.patch_size=2", "tokenizer.vision.channels=1"]


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


def test_texts_longer_than_the_model_can_read_are_refused_before_anything_is_built(published, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, "modality=text", f"model.pretrained={published}")
    words = capsys.readouterr().err
    assert (
        "data.arrange.seq_len=256 is more than the 64 tokens that the model can read" in words
        and "make it at most 64" in words
    )


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
