"""Data as the published model is used to them: cut, hidden, read and written as it was taught."""

import pytest
import torch
from tiny_published import bart, t5
from tiny_runs import numbers, run
from twins import transformers

import omniformer
from omniformer import pretrained
from omniformer.evaluate import main as evaluate
from omniformer.generate import main as generate

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


HIDDEN = [
    "task=masked_lm",
    "data.arrange={_target_: omniformer.data.Masked, modality: text, max_tokens: 16, token: '[MASK]'}",
]


COPY = [
    *("experiment=long_copy", "task.max_new_tokens=4", "data.source.gap=4"),
    *("data.source.n_train=24", "data.source.n_val=4", "data.source.n_test=4"),
]


@pytest.mark.slow
def test_texts_that_are_too_long_for_it_are_cut_in_training_and_in_evaluation(encoder, labelled, tmp_path):
    output = run(tmp_path, *labelled, f"model.pretrained={encoder}")  # letters make more than 16 tokens of each text
    before = numbers(output)["test/loss"]
    evaluate([str(output)])
    assert numbers(output)["test/loss"] == pytest.approx(before, rel=1e-5)
    assert type(omniformer.load(output).members["text"].tokenizers["text"]).__name__ == "SubwordTokenizer"


def test_texts_longer_than_the_model_can_read_are_refused_before_anything_is_built(published, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, "modality=text", f"model.pretrained={published}")
    words = capsys.readouterr().err
    assert (
        "data.arrange.seq_len=256 is more than the 64 tokens that the model can read" in words
        and "make it at most 64" in words
    )


@pytest.mark.slow
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


@pytest.mark.quick("t5")
@pytest.mark.parametrize("make", [bart, t5])
def test_an_encoder_and_decoder_reads_and_writes_texts_as_it_was_taught(tmp_path, capsys, make):
    source = make(tmp_path / "it")
    output = run(tmp_path, *COPY, f"model.pretrained={source}", "model.lora={rank: 2}")
    model = omniformer.load(output)
    assert model.members["long_copy"].given == pretrained.load(source).family.given
    assert model.members["long_copy"].allowed == next(iter(pretrained.load(source).members.values())).allowed
    before, after = pretrained.load(source).model.state_dict(), model.model.state_dict()
    changed = {name for name in before if name in after and not torch.equal(before[name], after[name])}
    # Queries and values of the encoder, of the decoder, and of what joins them.
    assert {name.split(".blocks.")[0] for name in changed} == {"core.encoder", "core.decoder"}
    assert any(".cross.branch.kv" in name for name in changed) and all(".qkv" in n or ".cross." in n for n in changed)
    found = numbers(output)["test/loss"]
    evaluate([str(output)])
    assert numbers(output)["test/loss"] == pytest.approx(found, rel=1e-4)
    generate([str(output), "abc....", "--max-new-tokens", "3", "--temperature", "0"])
    model.save_pretrained(tmp_path / "back")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back").eval()
    ids = torch.arange(5, 12)[None]
    inputs = {"input_ids": ids, "decoder_input_ids": ids}
    found = pretrained.as_reference(model.as_published())(**inputs).logits
    torch.testing.assert_close(found, theirs(**inputs).logits, rtol=1.3e-6, atol=1e-5)


@pytest.mark.slow
def test_classes_are_read_off_what_the_encoder_says(labelled, tmp_path):
    model = omniformer.load(run(tmp_path, *labelled, f"model.pretrained={bart(tmp_path / 'it')}"))
    assert list(model.members["text"].tokenizers) == ["source"]
    assert set(model.predict(["the cat number 3"])[0].probabilities) == {"cat", "dog"}


def test_texts_that_would_not_reach_the_encoder_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, "modality=text", f"model.pretrained={bart(tmp_path / 'it')}", "data.arrange.seq_len=16")
    assert "data.arrange makes texts that this model would read as if it had written them" in capsys.readouterr().err
