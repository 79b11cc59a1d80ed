"""wav2vec 2.0 beside the reference library."""

import json

import numpy as np
import pytest
import torch
from twins import agree, counted, saved, shaken, transformers
from waves import BASE, LARGE, SIZES, reads_as_the_reference, sounds, waves

import omniformer
from omniformer import pretrained
from omniformer.predict import main

PUBLISHED = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}


def model(kind="ForCTC", **others):
    return getattr(transformers, f"Wav2Vec2{kind}")(transformers.Wav2Vec2Config(**(SIZES | others)))


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        ("ForCTC", BASE),
        ("ForCTC", LARGE | {"num_conv_pos_embeddings": 7, "pad_token_id": 10}),
        ("ForSequenceClassification", BASE | {"num_labels": 3, "mask_time_prob": 0.0, "hidden_act": "relu"}),
        pytest.param("Model", LARGE, marks=pytest.mark.slow),
    ],
    ids=["base", "large", "classes", "body"],
)
def test_outputs_gradients_and_the_way_back(kind, others, tmp_path):
    reads_as_the_reference(model(kind, **others), tmp_path)


@pytest.mark.parametrize("kind", ["ForCTC", "ForSequenceClassification"])
def test_padded_sounds_of_several_lengths(kind, tmp_path):
    """Of large models: in base ones the reference lets padding into a norm."""
    theirs = shaken(model(kind, **LARGE))
    mask = (torch.arange(190) < torch.tensor([[190], [101]])).long()
    given = {"input_values": waves() * mask, "attention_mask": mask}
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))
    frames = theirs._get_feature_vector_attention_mask(15, mask) if kind == "ForCTC" else None
    agree(ours(**given).logits, theirs(**given).logits, frames)
    with pytest.raises(ValueError, match="attention_mask has padding before or inside a sound"):
        ours(given["input_values"], attention_mask=mask.flip(1))


@pytest.mark.slow
def test_what_was_only_learned_from_is_read_as_the_part_below(tmp_path):
    theirs = shaken(
        model("ForPreTraining", **BASE, codevector_dim=8, proj_codevector_dim=6, num_codevectors_per_group=3)
    )
    loaded = pretrained.load(saved(theirs, tmp_path / "theirs"))
    assert {name.partition(".")[0] for name in loaded.report.unexpected} == {"quantizer", "project_hid", "project_q"}
    expected = theirs.wav2vec2(waves()).last_hidden_state
    agree(pretrained.as_reference(loaded)(waves()).last_hidden_state, expected)
    loaded.save_pretrained(tmp_path / "ours")
    again = transformers.AutoModel.from_pretrained(tmp_path / "ours").eval()
    agree(again(waves()).last_hidden_state, expected)


def test_older_files_name_the_kernels_of_positions_otherwise(tmp_path):
    from safetensors.torch import load_file, save_file

    theirs = shaken(model(**BASE))
    saved(theirs, tmp_path)
    path, words = tmp_path / "model.safetensors", {"original0": "g", "original1": "v"}
    tensors = load_file(path)
    for new, old in words.items():
        where = "wav2vec2.encoder.pos_conv_embed.conv."
        tensors[f"{where}weight_{old}"] = tensors.pop(f"{where}parametrizations.weight.{new}")
    save_file(tensors, path)
    agree(pretrained.as_reference(pretrained.load(tmp_path))(waves()).logits, theirs(waves()).logits)


@pytest.mark.parametrize(
    ("sizes", "n"),
    [
        ({}, 94_396_320),
        (
            LARGE
            | {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
            315_471_520,
        ),
    ],
    ids=["base", "large"],
)
@pytest.mark.slow
def test_published_sizes_are_counted_exactly(sizes, n):
    config = transformers.Wav2Vec2Config(**sizes)
    with torch.device("meta"):
        theirs = transformers.Wav2Vec2ForCTC(config).num_parameters()
    assert counted(config.to_dict() | PUBLISHED) == theirs == n


@pytest.mark.parametrize(
    ("key", "value"),
    [("use_weighted_layer_sum", True), ("add_adapter", True), ("adapter_attn_dim", 16), ("feat_extract_norm", "batch")],
)
def test_what_changes_the_computation_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=f"{key}={value!r}; accepted"):
        pretrained.family_of(PUBLISHED | {key: value})


# ---- from a sound to a text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with letters and processor, as published."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDE'"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(folder / "vocab.json")
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False)
    theirs = shaken(model(**BASE))
    with torch.no_grad():
        theirs.lm_head.bias[letters.index("|")] += 0.5  # so that there are words, whatever the last bits of a processor
    saved(theirs, folder)
    transformers.Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def test_what_is_said_is_written_as_the_reference_writes_it(folder):
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    processor = transformers.Wav2Vec2Processor.from_pretrained(folder)
    loaded = omniformer.load(folder)
    heard = sounds(900, 431, 1200)
    expected = []
    for each in heard:
        values = processor(each.numpy(), sampling_rate=16000, return_tensors="pt").input_values
        (row,) = theirs(values).logits.argmax(-1)
        expected.append(processor.decode(row))
    found = [answer.content for (answer,) in loaded.generate(heard)]
    assert found == expected and len(set(found)) == 3 and any(" " in text for text in found)


def test_a_file_of_sound_is_written_down_from_the_command_line(folder, tmp_path, capsys):
    import soundfile

    (wave,) = sounds(1200)
    soundfile.write(tmp_path / "x.wav", wave.numpy() / 5, 16000, subtype="FLOAT")
    ((answer,),) = omniformer.load(folder).generate([wave / 5])
    main([str(folder), str(tmp_path / "x.wav"), "--json"])
    assert answer.content and answer.content in capsys.readouterr().out


def test_the_model_written_back_brings_processor_and_letters(folder, tmp_path):
    pretrained.load(folder).save_pretrained(tmp_path)
    before, after = map(transformers.Wav2Vec2Processor.from_pretrained, (folder, tmp_path))
    wave = sounds(700)[0].numpy()
    one, other = (each(wave, sampling_rate=16000, return_tensors="np").input_values for each in (before, after))
    assert np.array_equal(one, other)
    assert before.tokenizer("A BAD CAB").input_ids == after.tokenizer("A BAD CAB").input_ids


@pytest.mark.parametrize("normalize", [True, False])
def test_waves_equal_those_of_the_folders_processor(normalize, tmp_path):
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize)
    extractor.save_pretrained(tmp_path)
    tokenizer = pretrained.family_of(PUBLISHED).tokenizers(tmp_path)["audio"]
    (wave,) = sounds(1500)
    expected = extractor(wave.numpy() + 2, sampling_rate=16000, return_tensors="pt").input_values[0]
    values = tokenizer(wave + 2).values
    torch.testing.assert_close(torch.cat([values[:-1, :320].flatten(), values[-1]])[:1500], expected)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"feature_size": 80}))
    with pytest.raises(ValueError, match=r"preprocessor_config\.json: feature_size=80; accepted: 1"):
        pretrained.family_of(PUBLISHED).tokenizers(tmp_path)
