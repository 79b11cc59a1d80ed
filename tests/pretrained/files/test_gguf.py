"""GGUF headers from anywhere: whatever is wrong with one is told in a sentence, at once, and nothing is run."""

import struct

import numpy as np
import pytest
import torch
from gguf_files import gguf
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.pretrained.files.gguf import GgufCheckpoint, read_header

HUGE = 2**60


def text(content):
    return struct.pack("<Q", len(content.encode())) + content.encode()


def header(*, version=3, fields=(), tensors=(), n_fields=None, n_tensors=None, behind=b""):
    """A file of these parts; keys and tensors as bytes."""
    counts = (len(tensors) if n_tensors is None else n_tensors, len(fields) if n_fields is None else n_fields)
    found = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(fields) + b"".join(tensors)
    return found + bytes(-len(found) % 32) + behind


def tensor(name="a", shape=(4, 2), packing=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, packing, offset)


GOOD = header(
    fields=[
        text("one") + struct.pack("<II", 4, 7),
        text("many") + struct.pack("<IIQ", 9, 8, 2) + text("é") + text(""),
        text("numbers") + struct.pack("<IIQ3f", 9, 6, 3, 0.5, 1.5, -2.0),
    ],
    tensors=[tensor()],
    behind=np.arange(8, dtype=np.float32).tobytes(),
)


def test_keys_and_tensors_are_what_was_written(tmp_path):
    (tmp_path / "it.gguf").write_bytes(GOOD)
    found = read_header(tmp_path / "it.gguf")
    assert found.fields == {"one": 7, "many": ["é", ""], "numbers": [0.5, 1.5, -2.0]}
    ((name, first, rows),) = GgufCheckpoint(found, {"a": "b"}, {}).pieces(["b"])
    assert (name, first) == ("b", 0) and torch.equal(rows, torch.arange(8.0).view(2, 4))


def test_large_tensors_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("omniformer.pretrained.files.gguf._PIECE", 100)
    content = np.random.default_rng(0).normal(size=(20, 32)).astype(np.float32)
    packed = gguf.quantize(content, gguf.GGMLQuantizationType.Q8_0)
    (tmp_path / "it.gguf").write_bytes(header(tensors=[tensor(shape=(32, 20), packing=8)], behind=packed.tobytes()))
    pieces = list(GgufCheckpoint(read_header(tmp_path / "it.gguf"), {}, {}).pieces(["a"]))
    assert [first for _, first, _ in pieces] == list(range(20))
    expected = gguf.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)
    assert torch.equal(torch.cat([rows for *_, rows in pieces]), torch.from_numpy(expected))


BAD = {
    "nothing": (b"", "is no GGUF file"),
    "another file": (b"PK\3\4" + bytes(60), "is no GGUF file"),
    "version": (header(version=1), "is GGUF of version 1; accepted: 2 and 3, little-endian"),
    "big-endian": (header(version=3 << 24), "accepted: 2 and 3, little-endian"),
    "keys": (header(n_fields=HUGE), "announces 1,152,921,504,606,846,976 things, more than fit"),
    "tensors": (header(n_tensors=HUGE), "more than fit"),
    "name": (header(fields=[struct.pack("<Q", HUGE)], n_fields=1), "more than fit"),
    "list": (header(fields=[text("a") + struct.pack("<IIQ", 9, 4, HUGE)]), "more than fit"),
    "texts": (header(fields=[text("a") + struct.pack("<IIQ", 9, 8, HUGE)]), "more than fit"),
    "lists of lists": (header(fields=[text("a") + struct.pack("<IIQ", 9, 9, 1)]), "a list of values of kind 9"),
    "kind": (header(fields=[text("a") + struct.pack("<I", 77)]), "a value of the unknown kind 77"),
    "key twice": (header(fields=[text("a") + struct.pack("<II", 4, 7)] * 2), "it has the key 'a' twice"),
    "letters": (header(fields=[struct.pack("<Q", 1) + b"\xff" + struct.pack("<II", 4, 7)]), "is damaged or cut off"),
    "alignment": (header(fields=[text("general.alignment") + struct.pack("<II", 4, 0)]), "general.alignment=0"),
    "axes": (header(tensors=[tensor(shape=(1,) * 9)]), "a has 9 axes"),
    "no rows": (header(tensors=[tensor(shape=(4, 0))]), r"a \[0, 4\] does not fill blocks of 1"),
    "half a block": (header(tensors=[tensor(shape=(33, 1), packing=8)]), r"a \[1, 33\] does not fill blocks of 32"),
    "size": (header(tensors=[tensor(shape=(HUGE, HUGE))]), "is cut off: a ends behind its"),
    "offset": (header(tensors=[tensor(offset=HUGE)]), "is cut off: a ends behind its"),
    "packing": (
        header(tensors=[tensor(packing=255)]),
        r"packed in a way \(255\) that the library gguf does not unpack",
    ),
    "tensor twice": (header(tensors=[tensor()] * 2, behind=bytes(64)), "it has a tensor twice"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_told_with_the_file(what, tmp_path):
    content, message = BAD[what]
    (tmp_path / "it.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_header(tmp_path / "it.gguf")
    assert "it.gguf" in str(caught.value) and "\n" not in str(caught.value)


def refusal(path):
    """What is said of a file that is not read, and nothing of one that is."""
    try:
        found = read_header(path)
        list(GgufCheckpoint(found, {}, {}).pieces(found.tensors))
    except ValueError as error:
        return str(error)
    return None


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, len(GOOD) - 33), byte=st.integers(0, 255), kept=st.integers(0, len(GOOD)))
def test_any_other_byte_and_any_cut_is_read_or_refused(place, byte, kept, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzzed.gguf"
    for content in (GOOD[:place] + bytes([byte]) + GOOD[place + 1 :], GOOD[:kept]):
        path.write_bytes(content)
        said = refusal(path)
        assert said is None or "fuzzed.gguf" in said
