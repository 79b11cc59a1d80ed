import io
import struct
import zlib

import numpy as np
import pytest
import torch
from omniformer_tokenizers import MediaError
from omniformer_tokenizers.colours import image_tensor
from omniformer_tokenizers.media import read_image
from PIL import Image

RAMP = np.array([[0, 100 * 257, 65535]], np.uint16)  # 100 and 255 once they are 8 bits


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def tiff(values: np.ndarray, *, bits: int, sample_format: int = 1, photometric: int = 1, big: bool = False) -> bytes:
    """A TIFF of one row of grey, written by hand."""
    order = ">" if big else "<"
    tags = {256: values.shape[1], 257: 1, 258: bits, 259: 1, 262: photometric, 273: 10 + 12 * 9, 277: 1}
    tags |= {279: values.nbytes, 339: sample_format}
    entries = b"".join(
        np.array([tag, 4], order + "u2").tobytes() + np.array([1, n], order + "u4").tobytes() for tag, n in tags.items()
    )
    head = (b"MM" if big else b"II") + np.array([42], order + "u2").tobytes() + np.array([8], order + "u4").tobytes()
    return head + np.array([9], order + "u2").tobytes() + entries + values.tobytes()


def grey(content: bytes) -> list[int]:
    return read_image(content, mode="L").flatten().tolist()


def test_transparency_is_laid_over_white_unless_kept():
    pixels = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    content = encoded(Image.fromarray(pixels), "PNG")
    assert read_image(content)[:, 0].T.tolist() == [[255, 255, 255], [255, 0, 0], [127, 127, 127]]
    assert read_image(content, mode="RGBA")[:, 0].T.tolist() == pixels[0].tolist()


def test_palettes_with_a_transparent_colour_are_resolved():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putdata([0, 1])
    content = encoded(image, "PNG", transparency=1)
    assert read_image(content)[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255]]


def test_sixteen_bit_grey_is_scaled_not_cut():
    pixels = np.array([[0, 257 * 100, 65535]], np.uint16)
    image = read_image(encoded(Image.fromarray(pixels), "PNG"), mode="L")
    assert image.flatten().tolist() == [0, 100, 255]


def test_colour_separations_are_converted():
    image = read_image(encoded(Image.new("CMYK", (2, 2), (0, 0, 0, 0)), "JPEG", quality=100))
    assert (image >= 250).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("wanted", ["L", "RGB", "RGBA"])
def test_every_kind_of_pixel_is_brought_to_the_wanted_one(mode, wanted):
    image = Image.new(mode, (3, 2))
    tensor = image_tensor(image, mode=wanted)
    assert tensor.shape == (len(wanted), 2, 3)
    assert tensor.dtype == torch.uint8


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("brightest", [65535, 40000, 257])
def test_deep_grey_is_the_same_in_every_format_whatever_is_brightest(format, brightest):
    values = np.array([[0, 257, brightest]], np.uint16)
    assert grey(encoded(Image.fromarray(values), format)) == [0, 1, round(brightest / 257)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P5 3 1 1000\n" + np.array([0, 400, 1000], ">u2").tobytes(), [0, 102, 255]),
        (b"P5 3 1 100\n" + bytes([0, 40, 100]), [0, 102, 255]),
        (b"P2 3 1 1000\n0 400 1000\n", [0, 102, 255]),
        (b"Pf\n3 1\n-1.0\n" + np.array([0, 0.4, 1], "<f4").tobytes(), [0, 102, 255]),
        (tiff(RAMP, bits=16), [0, 100, 255]),
        (tiff(RAMP.astype(">u2"), bits=16, big=True), [0, 100, 255]),
        (tiff(RAMP, bits=16, photometric=0), [255, 155, 0]),
        (tiff(np.array([[0, 12850, 32767]], "<i2"), bits=16, sample_format=2), [0, 100, 255]),
        (tiff(np.array([[0, 16843009 * 100, 2**32 - 1]], "<u4"), bits=32), [0, 100, 255]),
        (tiff(np.array([[0, 2**30, 2**31 - 1]], "<i4"), bits=32, sample_format=2), [0, 128, 255]),
        (tiff(np.array([[0, 0.4, 1]], "<f4"), bits=32, sample_format=3), [0, 102, 255]),
    ],
)
def test_the_full_range_of_a_file_becomes_8_bits(content, expected):
    assert grey(content) == expected


def test_grey_of_12_bits_is_full_at_4095():
    row = bytes([0x00, 0x06, 0x66, 0xFF, 0xF0])  # 0, 0x666 = 1638, 0xFFF, and a rest
    content = tiff(np.frombuffer(row, np.uint8)[None], bits=12)
    content = content.replace(
        np.array([256, 4, 1, 0, 5, 0], "<u2").tobytes(), np.array([256, 4, 1, 0, 3, 0], "<u2").tobytes()
    )
    assert grey(content) == [0, 102, 255]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (np.array([[0, 255.0]], "<f4"), 3, "grey from 0 to 255; expected 0 to 1, scale it first"),
        (np.array([[-0.5, 1.0]], "<f4"), 3, "grey from -0.5 to 1"),
        (np.array([[np.nan, 1.0]], "<f4"), 3, "grey from nan"),
        (np.array([[-1, 1]], "<i4"), 2, "grey from -1 to 1; expected 0 to 2.14748e\\+09"),
    ],
)
def test_deep_grey_outside_its_range_is_refused(values, kind, message):
    with pytest.raises(MediaError, match=message):
        read_image(tiff(values, bits=32, sample_format=kind))


def test_pillow_images_of_deep_grey_mean_16_bits_or_floats():
    assert image_tensor(Image.fromarray(RAMP.astype(np.int32)), mode="L").flatten().tolist() == [0, 100, 255]
    assert image_tensor(Image.fromarray(np.array([[0, 0.4, 1]], np.float32)), mode="L").flatten().tolist() == [
        0,
        102,
        255,
    ]
    with pytest.raises(ValueError, match="grey from 0 to 65536; expected 0 to 65535"):
        image_tensor(Image.fromarray(np.array([[0, 65536]], np.int32)))


def test_a_transparent_number_of_deep_pixels_is_transparent():
    content = encoded(Image.fromarray(RAMP), "PNG", transparency=0)
    assert grey(content) == [255, 100, 255]
    assert read_image(content, mode="RGBA")[3].flatten().tolist() == [0, 255, 255]


def png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits of grey, grey and alpha, colours, or colours and alpha, which Pillow cannot write."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [*parts, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


COLOURS = np.array([[[0, 100 * 257, 65535], [200 * 257, 0, 257]]], np.uint16)


@pytest.mark.parametrize(
    "content",
    [
        png(COLOURS),
        png(np.concatenate([COLOURS, np.full((1, 2, 1), 65535, np.uint16)], axis=2)),
        b"P6 2 1 65535\n" + COLOURS.astype(">u2").tobytes(),
        b"P6 2 1 4080\n" + (COLOURS // 257 * 16).astype(">u2").tobytes(),  # of another range
    ],
    ids=["PNG", "PNG with alpha", "PPM", "PPM of 12 bits"],
)
def test_colours_of_16_bits_are_scaled_by_the_range_of_the_file(content):
    assert read_image(content)[:, 0].T.tolist() == [[0, 100, 255], [200, 0, 1]]


def test_grey_and_alpha_of_16_bits_are_scaled_not_cut():
    pixels = np.stack([RAMP, np.full_like(RAMP, 65535)], axis=2)
    assert grey(png(pixels)) == [0, 100, 255]


def test_the_transparent_colour_of_16_bit_colours_is_transparent():
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = np.array([25700, 0, 0, 0, 25700, 65535], ">u2").tobytes()
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    content += chunk(b"tRNS", struct.pack(">HHH", 25700, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    content += chunk(b"IEND", b"")
    assert read_image(content)[:, 0].T.tolist() == [[255, 255, 255], [0, 100, 255]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("1", 0, [0, 0, 0]),
        ("LA", (100, 255), [100, 100, 100]),
        ("LA", (100, 0), [255, 255, 255]),
        ("CMYK", (0, 0, 0, 0), [255, 255, 255]),
        ("CMYK", (255, 0, 0, 0), [0, 255, 255]),
        ("CMYK", (0, 0, 0, 255), [0, 0, 0]),
        ("YCbCr", (100, 128, 128), [100, 100, 100]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
    ],
)
def test_known_colours_become_known_pixels(mode, colour, expected):
    image = Image.new(mode, (2, 3), colour)
    assert (image_tensor(image) == torch.tensor(expected)[:, None, None]).all()
    if mode in ("1", "LA", "RGBA"):
        assert torch.equal(read_image(encoded(image, "PNG")), image_tensor(image))
    if mode in ("1", "CMYK"):
        assert torch.equal(read_image(encoded(image, "TIFF")), image_tensor(image))


def test_a_picture_of_many_rows_is_put_together_from_its_parts(monkeypatch):
    from omniformer_tokenizers import colours

    pixels = np.random.default_rng(0).integers(0, 256, (23, 7, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    whole = image_tensor(image)
    monkeypatch.setattr(colours, "_PIXELS_AT_ONCE", 20)
    assert torch.equal(image_tensor(image), whole)
    np.testing.assert_array_equal(image_tensor(image, mode="RGBA").permute(1, 2, 0).numpy(), pixels)


def test_a_given_image_is_left_as_it_is():
    image = Image.new("RGB", (4, 2))
    image.getexif()[0x0112] = 6
    assert image_tensor(image).shape == (3, 4, 2)
    assert image.size == (4, 2)
