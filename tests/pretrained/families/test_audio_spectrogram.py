"""AST beside the reference library."""

import json

import numpy as np
import pytest
import torch
from twins import saved, transformers, twin
from vision import as_written, count, loads_whole, pixels

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
SOUNDS = {"max_length": 29, "num_mel_bins": 20, "patch_size": 8, "time_stride": 5, "frequency_stride": 4}


def model(**others):
    return transformers.ASTForAudioClassification(transformers.ASTConfig(**(SIZES | SOUNDS | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_hidden_layers": 1, "num_labels": 5, "time_stride": 8},
        {"qkv_bias": False, "layer_norm_eps": 1e-3, "max_length": 17},
        {"num_hidden_layers": 3, "hidden_act": "relu", "num_mel_bins": 31, "patch_size": 4},
    ],
    ids=["plain", "one layer", "without offsets", "small patches"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    theirs = model(**others)
    inputs = {"input_values": pixels(2, theirs.config.max_length, theirs.config.num_mel_bins)}
    twin(theirs, tmp_path, lambda out: out.logits, inputs, as_filed=as_written(theirs))
    loads_whole(type(theirs), tmp_path / "ours")


@pytest.mark.quick(2)
@pytest.mark.parametrize("seconds", [0.05, 0.31, 2.0], ids=["short", "as long", "long"])
@pytest.mark.parametrize("options", [{}, {"mean": -3.0, "std": 2.0}, {"do_normalize": False}], ids=str)
def test_a_sound_is_classified_as_the_reference_classifies_it(seconds, options, tmp_path):
    theirs = model().eval()
    extractor = transformers.ASTFeatureExtractor(max_length=29, num_mel_bins=20, **options)
    extractor.save_pretrained(tmp_path)
    ours = pretrained.load(saved(theirs, tmp_path))
    sound = np.sin(np.arange(int(seconds * 16000)) * 0.3).astype(np.float32) * 0.5
    features = extractor(sound, sampling_rate=16000, return_tensors="pt")["input_values"]
    tokens = ours.members["classification"].tokenizers["audio"](torch.from_numpy(sound))
    expected = features[0].unfold(0, 8, 5).unfold(1, 8, 4).flatten(0, 1).flatten(1)
    torch.testing.assert_close(tokens.values[2:], expected, rtol=0, atol=1e-4)
    (said,) = ours.predict([torch.from_numpy(sound)])
    probabilities = theirs(input_values=features).logits.softmax(-1)[0]
    torch.testing.assert_close(torch.tensor(list(said.probabilities.values())), probabilities, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"max_length": 30},
            r"preprocessor_config.json: its spectrograms .* \(30, 20\), those of config.json \(29, 20\)",
        ),
        ({"feature_extractor_type": "WhisperFeatureExtractor"}, "accepted: ASTFeatureExtractor"),
    ],
)
def test_a_front_end_of_another_model_is_refused(settings, message, tmp_path):
    transformers.ASTFeatureExtractor(max_length=29, num_mel_bins=20).save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(ValueError, match=message):
        pretrained.load(saved(model(), tmp_path))


def test_the_file_of_all_processors_will_do(tmp_path):
    transformers.ASTFeatureExtractor(max_length=29, num_mel_bins=20, mean=1.5).save_pretrained(tmp_path)
    expected = pretrained.load(saved(model(), tmp_path)).members["classification"].tokenizers["audio"]
    old = tmp_path / "preprocessor_config.json"
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": json.loads(old.read_text())}))
    old.unlink()
    found = pretrained.load(tmp_path).members["classification"].tokenizers["audio"]
    assert found.config() == expected.config() and found.tokenizer.mean == 1.5


def test_a_model_of_sounds_reads_no_pictures(tmp_path):
    with pytest.raises(ValueError, match=r"image_size=\(8, 8\): ASTForAudioClassification reads no pictures"):
        pretrained.load(saved(model(), tmp_path), image_size=(8, 8))


def test_the_published_model_has_as_many_weights_as_the_reference_s():
    sizes = {"num_labels": 527}  # AudioSet
    with torch.device("meta"):
        theirs = transformers.ASTForAudioClassification(transformers.ASTConfig(**sizes))
    assert count({"model_type": "audio-spectrogram-transformer"} | sizes) == theirs.num_parameters() == 86_594_063
