"""Programs that begin at pixels and waveforms say what the predictor says of the same raw samples."""

import json
from functools import partial

import pytest
import torch
from exporting import CORE, agrees, shaken
from omniformer_tokenizers import (
    ByteTokenizer,
    ClassTokens,
    KaldiTokenizer,
    PatchTokenizer,
    SpectrogramTokenizer,
    WhisperTokenizer,
)

from omniformer.core.positions import Learned
from omniformer.embedders import ClassTokenEmbedder, IdEmbedder, VectorEmbedder
from omniformer.export.programs import programs
from omniformer.export.write import export, run_onnx, run_pt2
from omniformer.heads import ClassificationHead, ContrastiveHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor

PATCHES = PatchTokenizer(patch_size=4, channels=3, image_size=[8, 12], mean=[0.1, 0.2, 0.3], std=[0.5, 0.4, 0.3])
FRAMES = SpectrogramTokenizer(sample_rate=8000, n_mels=10, n_fft=200, hop_length=80, frames_per_token=4, frame_stride=3)


def classifier(tokenizer, modality, *, position=None):
    """Samples of one modality in two classes."""
    facts = tokenizer.facts
    embedder = VectorEmbedder(d_model=16, features=facts["features"], axes=facts["axes"], position=position)
    if "n_class_tokens" in facts:
        embedder = ClassTokenEmbedder(embedder=embedder, d_model=16, n_class_tokens=facts["n_class_tokens"])
    head = ClassificationHead(d_model=16, n_classes=2)
    model = shaken(OmniFormer(core=CORE(n_layers=1), embedders={modality: embedder}, heads={"it": head}))
    return Predictor(model, {"it": Member(tokenizers={modality: tokenizer}, labels=("a", "b"))})


def of(predictor, numbers="float32"):
    return programs(predictor.model, "it", predictor.members["it"], numbers)["model"]


@pytest.mark.parametrize("numbers", ["uint8", "float32"])
@pytest.mark.parametrize("tokenizer", [PATCHES, ClassTokens(tokenizer=PATCHES, n=2)], ids=["patches", "class tokens"])
def test_pixels_get_the_classes_of_their_tokens(tokenizer, numbers):
    program = of(classifier(tokenizer, "vision"), numbers)
    assert [(port.name, port.dtype, port.shape) for port in program.inputs] == [
        ("vision_pixels", numbers, ("batch", 3, 8, 12))
    ]
    assert agrees(program)


@pytest.mark.parametrize(
    "tokenizer",
    [
        FRAMES,
        SpectrogramTokenizer(n_mels=20, normalize="none", frames_per_token=8, bands_per_token=4, band_stride=2),
        WhisperTokenizer(n_mels=20, seconds=0.4, frames_per_token=3),
    ],
    ids=["frames", "patches", "whisper"],
)
def test_waveforms_get_the_classes_of_their_tokens(tokenizer):
    program = of(classifier(tokenizer, "audio"))
    assert [(port.name, port.dtype, port.shape) for port in program.inputs] == [
        ("audio_waveform", "float32", ("batch", "time"))
    ]
    assert agrees(program)


def test_of_a_model_that_compares_the_program_of_pictures_alone_begins_with_pixels():
    predictor = classifier(PATCHES, "vision")
    embedders = {"vision": predictor.model.embedders["vision"], "text": IdEmbedder(d_model=16, vocab_size=257)}
    head = ContrastiveHead(d_model=16, modalities=["vision", "text"], d_embedding=4)
    model = shaken(OmniFormer(core=CORE(n_layers=1), embedders=embedders, heads={"it": head}))
    made = programs(model, "it", Member(tokenizers={"vision": PATCHES, "text": ByteTokenizer()}), "uint8")
    assert [each.inputs[0].name for each in made.values()] == ["vision_pixels", "input_ids"]
    assert agrees(made["vision"])


def test_files_give_raw_pictures_the_class_that_the_predictor_gives_them(tmp_path):
    pytest.importorskip("onnxruntime")
    predictor = classifier(PATCHES, "vision")
    written = export(predictor, tmp_path, raw="uint8")
    assert all(file.difference < 1e-5 for file in written)
    pictures = torch.randint(256, (5, 3, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    expected = [each.probabilities["b"] for each in predictor.predict(list(pictures))]
    for run in (run_pt2(tmp_path / "model.pt2"), run_onnx(tmp_path / "model.onnx")):
        assert run(pictures)[1][:, 1].tolist() == pytest.approx(expected, abs=1e-5)
    (port,) = json.loads((tmp_path / "config.json").read_text())["programs"]["model"]["inputs"]
    assert (port["name"], port["dtype"]) == ("vision_pixels", "uint8")


def test_files_give_raw_sounds_of_any_length_their_class_and_refuse_those_without_places(tmp_path):
    pytest.importorskip("onnxruntime")
    predictor = classifier(FRAMES, "audio", position=partial(Learned, sizes=[30]))
    export(predictor, tmp_path, raw="float32")
    generator = torch.Generator().manual_seed(7)
    refusals = r"a position lies outside the learned grid of sizes \[30\]", "invalid index found, index = 30"
    for run, refusal in zip(
        (run_pt2(tmp_path / "model.pt2"), run_onnx(tmp_path / "model.onnx")), refusals, strict=True
    ):
        for length in (900, 2345, 6000):
            waves = torch.randn(2, length, generator=generator)
            expected = [each.probabilities["b"] for each in predictor.predict(list(waves))]
            assert run(waves)[1][:, 1].tolist() == pytest.approx(expected, abs=1e-5)
        with pytest.raises(Exception, match=refusal):
            run(torch.randn(1, 9000))


def test_what_has_no_common_shape_or_begins_with_no_samples_is_refused():
    for tokenizer, modality, numbers, message in (
        (PatchTokenizer(patch_size=4), "vision", "uint8", "PatchTokenizer makes tokens of vision by more"),
        (KaldiTokenizer(n_mels=20), "audio", "float32", "KaldiTokenizer makes tokens of audio by more"),
        (FRAMES, "audio", "uint8", "audio cannot come as uint8; choose float32"),
    ):
        with pytest.raises(ValueError, match=message):
            of(classifier(tokenizer, modality), numbers)
    embedder = IdEmbedder(d_model=16, vocab_size=257)
    head = ClassificationHead(d_model=16, n_classes=2)
    model = OmniFormer(core=CORE(n_layers=1), embedders={"text": embedder}, heads={"it": head}).eval()
    predictor = Predictor(model, {"it": Member(tokenizers={"text": ByteTokenizer()})})
    with pytest.raises(ValueError, match="'it' reads no pictures and no sounds"):
        of(predictor)


def test_sounds_longer_than_whisper_reads_are_refused():
    with pytest.raises(RuntimeError, match="sounds of 6500 samples, of which 6400 are read"):
        WhisperTokenizer(seconds=0.4).of_stack(torch.randn(1, 6500))
