import io

import numpy as np
import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, MediaError, PatchTokenizer, SpectrogramTokenizer
from omniformer_tokenizers.media import picture_size, read_audio, read_audio_windows, read_frames, read_image
from omniformer_tokenizers.sound_headers import opened_sound
from PIL import Image


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_come_back_exactly(format):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    options = {"lossless": True} if format == "WEBP" else {}
    image = read_image(encoded(Image.fromarray(pixels), format, **options))
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels)


def test_a_photograph_is_turned_upright():
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the picture is at the right of the stored one
    image = read_image(encoded(Image.fromarray(pixels), "PNG", exif=exif))
    assert image.shape == (3, 4, 2)
    assert image[:, 0, 1].tolist() == [255, 255, 255]
    assert image.sum() == 3 * 255


def test_too_many_pixels_are_refused_before_decoding():
    content = encoded(Image.new("L", (8000, 8000)), "PNG")
    with pytest.raises(MediaError, match=r"8000 x 8000 pixels; at most 50000000 pixels are accepted"):
        read_image(content)
    with pytest.raises(MediaError, match="3 x 2 pixels; at most 5 pixels"):
        read_image(encoded(Image.new("RGB", (3, 2)), "PNG"), max_pixels=5)


def test_animations_are_limited_over_all_frames():
    frames = [Image.new("RGB", (10, 10), (i, 0, 0)) for i in range(9)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_frames(content).shape == (9, 3, 10, 10)
    assert picture_size(content) == 100 and picture_size(content, frames=True) == 900
    with pytest.raises(MediaError, match="9 frames of 10 x 10; at most 800 pixels"):
        read_frames(content, max_pixels=800)


def test_a_still_picture_is_one_frame(image_bytes):
    assert read_frames(image_bytes("JPEG")).shape == (1, 3, 12, 10)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"%PDF-1.4", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.png: cannot be read as an image"):
        read_image(path)
    with pytest.raises(MediaError, match="bytes in memory"):
        read_image(content)


def test_a_truncated_picture_is_refused(image_bytes):
    content = image_bytes("PNG", 100, 100)
    with pytest.raises(MediaError):
        read_image(content[: len(content) // 2])


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
def test_lossless_sound_comes_back_to_16_bits(audio_bytes, format):
    wave, rate = read_audio(audio_bytes(format, channels=2))
    assert rate == 8000
    assert wave.shape == (2, 4000)
    expected = 0.5 * torch.sin(torch.arange(4000) * 0.3) * torch.linspace(0.1, 1, 4000)
    torch.testing.assert_close(wave[0], expected, rtol=0, atol=1 / 32768)


def test_a_long_sound_is_refused_by_its_header(audio_bytes):
    with pytest.raises(MediaError, match="4000 frames of 2 channels; at most 5000 samples"):
        read_audio(audio_bytes("WAV", channels=2), max_samples=5000)


def test_a_header_that_lies_is_refused_quickly(audio_bytes):
    content = bytearray(audio_bytes("FLAC"))
    place = content.index(b"fLaC") + 8 + 13  # the 36-bit number of samples in the stream info
    content[place : place + 5] = bytes([content[place] | 0x0F, 255, 255, 255, 255])
    with pytest.raises(MediaError, match="at most"):
        read_audio(bytes(content))


def test_samples_that_are_not_finite_are_refused():
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.array([0.0, np.nan, 1.0]), 8000, format="WAV", subtype="FLOAT")
    with pytest.raises(MediaError, match="not finite"):
        read_audio(buffer.getvalue())


@pytest.mark.parametrize("content", [b"", b"RIFF", b"fLaC", b"OggS", b"plain text"])
def test_what_is_no_sound_is_refused(tmp_path, content):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.wav: cannot be read as sound"):
        read_audio(path)


@pytest.mark.parametrize(("seconds", "overlap"), [(0.1, 0.0), (0.1, 0.05), (0.3, 0.0), (9.0, 0.0)])
def test_windows_cover_a_long_sound(audio_bytes, seconds, overlap):
    content = audio_bytes("WAV")
    whole, _ = read_audio(content)
    shared = round(overlap * 8000)
    windows = [wave for wave, rate in read_audio_windows(content, seconds=seconds, overlap=overlap)]
    joined = torch.cat([windows[0], *(window[:, shared:] for window in windows[1:])], dim=1)
    torch.testing.assert_close(joined, whole, rtol=0, atol=0)
    assert all(window.shape[1] <= seconds * 8000 for window in windows)


def test_windows_end_where_the_file_ends_whatever_its_header_announces(audio_bytes):
    content = bytearray(audio_bytes("MP3"))
    place = content.index(b"Xing") + 8  # the number of frames of an MP3, of 576 samples each
    content[place : place + 4] = b"\x7f\xff\xff\xff"
    windows = [wave for wave, _ in read_audio_windows(bytes(content), seconds=0.1)]
    assert 4000 <= sum(wave.shape[1] for wave in windows) < 8000
    with pytest.raises(MediaError, match="at most 500000000 samples"):
        read_audio(bytes(content))


def test_a_decoder_that_is_sent_before_the_file_stays_where_it_is(tmp_path, audio_bytes):
    (tmp_path / "a.wav").write_bytes(audio_bytes("WAV"))
    for source in (tmp_path / "a.wav", audio_bytes("WAV")):
        with opened_sound(source) as file:
            file.seek(7)
            assert file.seek(-1) == file.tell() == 7


def test_windows_of_what_is_no_sound_are_refused(tmp_path):
    with pytest.raises(MediaError, match="cannot be read as sound"):
        list(read_audio_windows(b"plain text", seconds=1))
    with pytest.raises(ValueError, match="overlap=2: need 0 <= overlap < seconds=1"):
        list(read_audio_windows(b"", seconds=1, overlap=2))


def test_what_a_tokenizer_finds_wrong_with_a_file_names_the_file(tmp_path, image_bytes, audio_bytes):
    (tmp_path / "odd.png").write_bytes(image_bytes("PNG"))
    (tmp_path / "stereo.wav").write_bytes(audio_bytes("WAV", channels=2))
    (tmp_path / "graph.json").write_text('{"n_nodes": 1, "edges": []}')
    with pytest.raises(MediaError, match=r"odd\.png: patch_size=16"):
        PatchTokenizer(remainder="error")(tmp_path / "odd.png")
    with pytest.raises(MediaError, match=r"stereo\.wav: received 2 channels"):
        SpectrogramTokenizer(downmix="error")(tmp_path / "stereo.wav")
    with pytest.raises(MediaError, match=r"graph\.json: the graph has no node features"):
        GraphTokenizer(node_features=1)(tmp_path / "graph.json")


def unfinished(content: bytes, name: bytes, place: int, length: bytes) -> bytes:
    """A sound whose header states another length."""
    changed = bytearray(content)
    start = content.index(name) + place
    changed[start : start + len(length)] = length
    return bytes(changed)


@pytest.mark.parametrize("length", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wave_of_unknown_length_is_read_to_the_end(tmp_path, audio_bytes, length, channels):
    content = audio_bytes("WAV", channels=channels)
    (tmp_path / "a.wav").write_bytes(unfinished(content, b"data", 4, length))
    whole, _ = read_audio(content)
    for source in (tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes()):
        assert torch.equal(read_audio(source)[0], whole)
        windows = [wave for wave, _ in read_audio_windows(source, seconds=0.1)]
        assert torch.equal(torch.cat(windows, dim=1), whole)


@pytest.mark.parametrize(
    ("format", "name", "place", "length"),
    [
        ("RF64", b"ds64", 16, bytes(8)),
        ("AU", b".snd", 8, bytes(4)),
        ("AU", b".snd", 8, b"\xff\xff\xff\xff"),
        ("W64", b"data\xf3\xac", 16, bytes(8)),
        ("AIFF", b"SSND", 4, bytes(4)),
    ],
)
def test_other_sounds_of_unknown_length_are_read_to_the_end(audio_bytes, format, name, place, length):
    content = audio_bytes(format)
    assert torch.equal(read_audio(unfinished(content, name, place, length))[0], read_audio(content)[0])


def test_a_stream_of_flac_of_unknown_length_is_refused_by_name(tmp_path, audio_bytes):
    content = audio_bytes("FLAC")
    (tmp_path / "a.flac").write_bytes(unfinished(content, b"fLaC", 22, bytes(4)))
    with pytest.raises(MediaError, match=r"a\.flac: cannot be read as sound: its header does not say how long it is"):
        read_audio(tmp_path / "a.flac")


@pytest.mark.parametrize("notes", [b"", b"LIST\x04\0\0\0INFO"])
def test_a_wave_that_is_empty_stays_empty(audio_bytes, notes):
    header = audio_bytes("WAV")[:44]
    assert read_audio(unfinished(header, b"data", 4, bytes(4)) + notes)[0].shape == (1, 0)


def test_long_mp3_is_read_from_its_bytes_too(tmp_path, audio_bytes):
    content = audio_bytes("MP3", seconds=5)
    (tmp_path / "a.mp3").write_bytes(content)
    assert read_audio(content)[0].shape[1] > 39_000
    assert torch.equal(read_audio(content)[0], read_audio(tmp_path / "a.mp3")[0])


def test_a_small_file_that_unfolds_into_very_much_is_refused(monkeypatch, tmp_path):
    import soundfile
    from omniformer_tokenizers import limits

    content = encoded(Image.new("1", (5000, 5000)), "PNG")
    with pytest.raises(
        MediaError, match=r"5000 x 5000 pixels out of \d+ bytes; beyond 16777216 pixels, at most 100 a byte"
    ):
        read_image(content)
    soundfile.write(tmp_path / "a.flac", np.zeros(5_000_000, np.int16), 8000)
    monkeypatch.setattr("omniformer_tokenizers.media.FREE_SAMPLES", 1_000_000)
    with pytest.raises(MediaError, match=r"5000000 frames of 1 channels out of \d+ bytes; beyond 1000000 samples"):
        read_audio(tmp_path / "a.flac")
    monkeypatch.setenv(limits.VARIABLE, "5")
    assert read_image(content, mode="L").shape == (1, 5000, 5000)
    assert read_audio(tmp_path / "a.flac")[0].shape == (1, 5_000_000)


def test_animations_of_very_many_frames_are_refused(monkeypatch):
    frames = [Image.new("L", (1, 1), i) for i in range(9)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    monkeypatch.setattr("omniformer_tokenizers.media.MAX_FRAMES", 8)
    with pytest.raises(MediaError, match="9 frames; at most 8 are accepted"):
        read_frames(content)


def test_pages_are_limited_one_by_one_and_have_one_size():
    small, large = Image.new("L", (10, 10)), Image.new("L", (9000, 9000))
    with pytest.raises(
        MediaError, match=r"frame 1 has \(9000, 9000\) pixels and frame 0 \(10, 10\); expected one size"
    ):
        read_frames(encoded(small, "TIFF", save_all=True, append_images=[large]))
    pages = encoded(small, "TIFF", save_all=True, append_images=[small, small])
    assert read_frames(pages).shape == (3, 3, 10, 10)
    with pytest.raises(MediaError, match="3 frames of 10 x 10; at most 250 pixels"):
        read_frames(pages, max_pixels=250)
