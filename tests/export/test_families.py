"""Published models as exported programs: text goes in as it goes into the reference library."""

import pytest
import torch
from exporting import agrees
from twins import LOGITS, ragged_ids, saved, shaken, transformers

from omniformer import pretrained
from omniformer.export.programs import programs
from omniformer.export.write import export

WIDE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
TEXT = {**WIDE, "vocab_size": 29, "max_position_embeddings": 32}
GROUPED = {**TEXT, "num_key_value_heads": 2}
PICTURES = {**WIDE, "image_size": 16, "patch_size": 4}
EXPERTS = {"num_local_experts": 3, "num_experts_per_tok": 2, "sliding_window": None}
DISTIL = {"vocab_size": 29, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 32}
SOUND = {"num_mel_bins": 16, "max_length": 24, "patch_size": 8, "frequency_stride": 8, "time_stride": 8}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32, "vocab_size": 29}
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 8}
WRITERS = {
    "GPT-2": ("GPT2", "LMHeadModel", GPT2 | {"bos_token_id": 0, "eos_token_id": 0}),
    "LLaMA": ("Llama", "ForCausalLM", GROUPED),
    "LLaMA, longer": ("Llama", "ForCausalLM", GROUPED | {"rope_parameters": YARN}),
    "Mistral": ("Mistral", "ForCausalLM", GROUPED | {"sliding_window": 4}),
    "Mixtral": ("Mixtral", "ForCausalLM", GROUPED | EXPERTS),
    "Qwen2": ("Qwen2", "ForCausalLM", GROUPED),
    "Qwen3": ("Qwen3", "ForCausalLM", GROUPED | {"head_dim": 8}),
}
SHARED = {"vocab_size": 29, "d_model": 24, "pad_token_id": 0, "eos_token_id": 1}
HALVES = {
    f"{side}_{what}": n
    for side in ("encoder", "decoder")
    for what, n in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 40))
}
STARTED = {"decoder_start_token_id": 0, "forced_eos_token_id": None}
WHISPER = {"num_mel_bins": 6, "max_source_positions": 20, "max_target_positions": 20, "bos_token_id": 2}
WHISPER |= {"suppress_tokens": None, "begin_suppress_tokens": None}
PAIRS = {
    "T5": (
        "T5",
        "ForConditionalGeneration",
        SHARED | {"d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4} | STARTED,
    ),
    "BART": ("Bart", "ForConditionalGeneration", SHARED | HALVES | STARTED | {"max_position_embeddings": 32}),
    "Whisper": ("Whisper", "ForConditionalGeneration", SHARED | HALVES | STARTED | WHISPER),
    "Marian": ("Marian", "MTModel", SHARED | HALVES | STARTED | {"max_position_embeddings": 32}),
}
READERS = {
    "BERT": ("Bert", "ForSequenceClassification", TEXT),
    "BERT, hidden words": ("Bert", "ForMaskedLM", TEXT),
    "BERT, answers": ("Bert", "ForQuestionAnswering", TEXT),
    "RoBERTa": ("Roberta", "ForTokenClassification", TEXT | {"pad_token_id": 1}),
    "DistilBERT": ("DistilBert", "ForSequenceClassification", DISTIL),
    "ViT": ("ViT", "ForImageClassification", PICTURES),
    "DeiT": ("DeiT", "ForImageClassificationWithTeacher", PICTURES),
    "AST": ("AST", "ForAudioClassification", WIDE | SOUND),
    "CLIP": ("CLIP", "Model", {"text_config": TEXT, "vision_config": PICTURES, "projection_dim": 10}),
}


def made(prefix, kind, config):
    """A tiny model of the reference, and the same loaded by us."""
    torch.manual_seed(0)
    return shaken(getattr(transformers, prefix + kind)(getattr(transformers, f"{prefix}Config")(**config)))


def loaded(theirs, folder):
    predictor = pretrained.load(saved(theirs, folder))
    name = next(iter(predictor.members), None)
    return programs(predictor.model, name, None if name is None else predictor.members[name])


@pytest.mark.quick(3)
@pytest.mark.parametrize("family", READERS.values(), ids=READERS)
def test_readers_of_every_family_say_in_padded_batches_what_they_say_in_packed_ones(family, tmp_path):
    found = loaded(made(*family), tmp_path)
    assert list(found) == (["vision", "text"] if family[0] == "CLIP" else ["model"])
    assert all(agrees(program) for program in found.values())


@pytest.mark.quick(2)
@pytest.mark.parametrize("family", WRITERS.values(), ids=WRITERS)
def test_a_step_of_a_decoder_takes_the_references_tensors_and_says_what_it_says(family, tmp_path):
    theirs = made(*family)
    program = loaded(theirs, tmp_path)["decoder"]
    assert agrees(program)
    ids, mask = ragged_ids(29)
    expected, found = theirs(input_ids=ids, attention_mask=mask).logits, program(ids, mask, *program.nothing(3))[0]
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], **LOGITS)


@pytest.mark.quick(1)
@pytest.mark.parametrize("family", PAIRS.values(), ids=PAIRS)
def test_encoders_and_decoders_of_every_family_become_two_programs(family, tmp_path):
    theirs = made(*family)
    found = loaded(theirs, tmp_path)
    assert all(agrees(program) for program in found.values())
    if family[0] == "Whisper":
        return  # whose sounds come in as tokens of ours, two frames each
    (source, read), (ids, mask) = ragged_ids(29, least=2), ragged_ids(29, (3, 9, 1), seed=1, least=2)
    expected = theirs(input_ids=source, attention_mask=read, decoder_input_ids=ids, decoder_attention_mask=mask).logits
    decoder = found["decoder"]
    scores = decoder(ids, mask, *found["encoder"](source, read), *decoder.nothing(3))[0]
    torch.testing.assert_close(scores[mask.bool()], expected[mask.bool()], **LOGITS)


def test_a_classifier_takes_the_references_tensors_and_says_what_it_says(tmp_path):
    theirs = made(*READERS["BERT"])
    program = loaded(theirs, tmp_path)["model"]
    assert [port.name for port in program.inputs] == ["input_ids", "token_type_ids", "attention_mask"]
    ids, mask = ragged_ids(29)
    kinds = torch.randint(2, ids.shape, generator=torch.Generator().manual_seed(0))
    expected = theirs(input_ids=ids, token_type_ids=kinds, attention_mask=mask).logits
    torch.testing.assert_close(program(ids, kinds, mask)[0], expected, **LOGITS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT-2", "LLaMA", "Mixtral", "BERT", "ViT", "CLIP", "T5", "Whisper"])
def test_files_of_published_models_agree_with_them(name, tmp_path):
    pytest.importorskip("onnxruntime")
    saved(made(*{**WRITERS, **READERS, **PAIRS}[name]), tmp_path / "published")
    written = export(pretrained.load(tmp_path / "published"), tmp_path / "files")
    assert len(written) == (4 if name in ("CLIP", "T5", "Whisper") else 2)
    assert all(file.difference < 1e-5 for file in written)
